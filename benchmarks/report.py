"""The measurements as Markdown: ratios to the floor, errors, and the bars that the project set itself."""

import pandas as pd

from benchmarks import methods, tasks

AREAL, PLAIN = "AReaL, restated", "plain formula, compiled"
LIMITS = {  # (task, method): the largest ratio to the floor in float32 and in bfloat16
    (tasks.FORWARD, methods.OURS): (3.5, 5.5),
    (tasks.FORWARD, methods.EAGER): (12, 18),
    (tasks.STEP, methods.OURS): (2.5, 5),
    (tasks.BACKWARD, tasks.REUSED): (2.2, 3.2),
    (tasks.BACKWARD, tasks.FRESH): (6, 7),
}
FASTER = (  # (task, ours, theirs, how many times faster in float32 and in bfloat16)
    (tasks.FORWARD, methods.OURS, PLAIN, 1, 1),
    (tasks.FORWARD, methods.OURS, "the fastest library", 1.4, 1.4),
    (tasks.FORWARD, methods.OURS, "TRL", 3, 2),
    (tasks.FORWARD, methods.OURS, "verl", 8, 8),
    (tasks.STEP, methods.OURS, "natural torch formula", 15, 15),
    (tasks.BACKWARD, tasks.REUSED, "TRL", None, 5),
    (tasks.BACKWARD, tasks.REUSED, "verl", 5, 5),
)
COLUMNS = ["what", "shape", "type", "measured", "bar", "met"]


def markdown(found):
    """Return all tables."""
    rows = pd.DataFrame(found["rows"])
    parts = [f"# Measured on {found['machine']['device']}", machine_line(found["machine"])]
    parts += ["## Bars", table(bars(rows, found))]
    for task, group in rows.groupby("task", sort=False):
        parts += [f"## {task}: time over the floor", table(wide(group, "ratio_to_floor", "{:.1f}"))]
        group = group.dropna(subset=["extra_mebibytes"])
        if len(group):
            parts += [f"## {task}: peak extra memory, MiB", table(wide(group, "extra_mebibytes", "{:.0f}"))]
    if "errors" in found:
        parts += ["## Errors against float64", table(errors_table(pd.DataFrame(found["errors"])))]
    if "growth" in found:
        slopes = [
            {"axis": axis, "slope of log time": f"{g['slope']:.2f}"} for axis, g in found["growth"].items()
        ]
        parts += ["## Growth", table(pd.DataFrame(slopes))]
    if "stream" in found:
        parts += [
            "## Stream of rows of 1024 bfloat16 logits from a file",
            table(pd.DataFrame(found["stream"]).round(1)),
        ]
    return "\n\n".join(parts) + "\n"


def bars(rows, found):
    """Return each bar with what was measured and whether it is met."""
    ratio = {
        (r["task"], r["method"], tuple(r["shape"]), r["dtype"]): r["ratio_to_floor"]
        for _, r in rows.iterrows()
    }
    lines = []
    for task, method, shape, dtype in ratio:
        if (task, method) in LIMITS:
            limit = LIMITS[task, method][dtype == "bfloat16"]
            value = ratio[task, method, shape, dtype]
            lines.append(
                (f"{task}: {method}", shape, dtype, f"{value:.2f} × floor", f"≤ {limit}", value <= limit)
            )
    for task, ours, theirs, *factors in FASTER:
        for shape, dtype in dict.fromkeys((s, d) for t, m, s, d in ratio if (t, m) == (task, ours)):
            factor = factors[dtype == "bfloat16"]
            others = [
                v for (t, m, s, d), v in ratio.items() if (t, s, d) == (task, shape, dtype) and _is(theirs, m)
            ]
            if factor and others:
                value = min(others) / ratio[task, ours, shape, dtype]
                lines.append(
                    (
                        f"{task}: {ours} against {theirs}",
                        shape,
                        dtype,
                        f"{value:.1f} times faster",
                        f"≥ {factor}",
                        value >= factor,
                    )
                )
    lines += _memory_bars(rows) + error_bars(found.get("errors", []))
    return in_words(pd.DataFrame(lines, columns=COLUMNS))


def in_words(lines):
    """Return bars with shapes and verdicts as they are printed; None is a bar that nothing was held to."""
    said = {True: "yes", False: "NO", None: "not measured"}
    return lines.assign(
        shape=[" × ".join(map(str, s)) for s in lines["shape"]],
        met=[said[None if m is None else bool(m)] for m in lines["met"]],
    )


def _is(wanted, method):
    libraries = ("TRL", "verl", "AReaL", "torch Categorical")
    return method.startswith(libraries) if wanted == "the fastest library" else method.startswith(wanted)


def _memory_bars(rows):
    lines = []
    for _, r in rows.dropna(subset=["extra_mebibytes"]).iterrows():
        size = r["shape"][0] * r["shape"][1] * (4 if r["dtype"] == "float32" else 2) / 2**20
        limit = {
            (tasks.FORWARD, methods.OURS): 32,
            (tasks.STEP, methods.OURS): 32,
            (tasks.BACKWARD, tasks.REUSED): 32,
            (tasks.BACKWARD, tasks.FRESH): size + 32,
        }.get((r["task"], r["method"]))
        if limit:
            lines.append(
                (
                    f"{r['task']}: {r['method']}, memory",
                    r["shape"],
                    r["dtype"],
                    f"{r['extra_mebibytes']:.0f} MiB",
                    f"≤ {limit:.0f} MiB",
                    r["extra_mebibytes"] <= limit,
                )
            )
    return lines


def error_bars(errors):
    """Return the bars of the errors of ours."""
    limits = {
        "entropy_nats": 2e-6,
        "entropy_relative": 1e-3,
        "log_prob_nats_beyond_half_ulp": 2e-6,
        "gradient_of_largest": 1e-5,
        "gradient_relative": 1e-3,
    }
    lines = []
    for name, limit in limits.items():
        for dtype in dict.fromkeys(e["dtype"] for e in errors):
            found = [e[name] for e in errors if e["method"] == methods.OURS and e["dtype"] == dtype]
            worst = None if None in found else max(found)
            lines.append(
                (
                    f"error: {name.replace('_', ' ')}",
                    (),
                    dtype,
                    "NaN" if worst is None else f"{worst:.1e}",
                    f"≤ {limit:.0e}",
                    worst is not None and worst <= limit,
                )
            )
    return lines


def wide(group, column, form):
    """Return methods down, sizes and types across."""
    named = group.assign(
        case=[f"{' × '.join(map(str, s))} {d}" for s, d in zip(group["shape"], group["dtype"], strict=True)],
        value=[form.format(v) for v in group[column]],
    )
    order = list(dict.fromkeys(named["method"]))
    wide = named.pivot(index="method", columns="case", values="value")
    return wide.reindex(index=order, columns=list(dict.fromkeys(named["case"]))).reset_index()


def errors_table(errors):
    """Return the largest error of H a method and kind of rows, NaN where a method gave NaN."""
    named = errors.assign(
        case=errors["kind"] + ", " + errors["dtype"],
        value=["NaN" if pd.isna(v) else f"{v:.0e}" for v in errors["entropy_nats"]],
    )
    wide = named.pivot(index="method", columns="case", values="value")
    return wide.reindex(
        index=list(dict.fromkeys(named["method"])), columns=list(dict.fromkeys(named["case"]))
    ).reset_index()


def machine_line(machine):
    """Return what the numbers depend on, as a sentence."""
    return (
        ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in machine.items() if key != "device")
        + "."
    )


def table(frame):
    """Return a Markdown table."""
    head = [" | ".join(map(str, frame.columns)), " | ".join(["---"] * len(frame.columns))]
    return "\n".join(
        f"| {line} |" for line in head + [" | ".join(map(str, row)) for row in frame.itertuples(index=False)]
    )
