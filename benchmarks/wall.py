"""The measurements on a GPU as Markdown, with the bars that the project set itself there."""

import pandas as pd

from benchmarks import device, methods, report, tasks

COPY_SHARE = 0.85  # of a copy's bandwidth, forward
OVER_FLOOR = (  # (task, method, what its floor is, the largest ratio to it)
    (tasks.STEP, methods.OURS, "reading both", 1.2),
    (tasks.BACKWARD, tasks.REUSED, "two reads and a write", 1.2),
    (device.HIDDEN_FORWARD, methods.OURS, "the bare product", 1.2),
    (device.HIDDEN_BACKWARD, methods.OURS, "two products", 1.3),
)
A_ROW = 4096  # bytes beside the logits that a row may cost
TILES = 512  # MiB that tiles may take
ERRORS_FROM_HIDDEN = {"gradient_of_largest": 3e-5, "gradient_relative": 1e-3}


def markdown(found):
    """Return all tables."""
    rows, rates = pd.DataFrame(found["rows"]), found["rates"]
    parts = [f"# Measured on {found['machine']['device']}", report.machine_line(found["machine"])]
    copied, multiplied = rates["bytes_per_second_of_a_copy"], rates["operations_per_second_of_a_product"]
    parts.append(
        f"A copy moves {copied / 1e12:.2f} TB/s, read and written; the bare product of bfloat16 matrices "
        f"runs at {multiplied / 1e12:.0f} TFLOP/s."
    )
    parts += ["## Bars", report.table(bars(found))]
    if found["left_out"]:
        left_out = pd.DataFrame(found["left_out"].items(), columns=["left out", "why"])
        parts += ["## Left out", report.table(left_out)]
    for task, group in rows.groupby("task", sort=False):
        group = group.assign(milliseconds=1000 * group["seconds"])
        shown = group[["method", "milliseconds", "ratio_to_floor", "extra_mebibytes"]].round(2)
        shown.columns = ["method", "milliseconds", "over the floor", "peak extra memory, MiB"]
        parts += [f"## {task}: {_size(group)}", report.table(shown)]
    parts += ["## Errors against float64", report.table(report.errors_table(pd.DataFrame(found["errors"])))]
    hidden = pd.DataFrame(found["hidden_errors"])
    hidden = hidden.assign(**{name: [f"{x:.0e}" for x in hidden[name]] for name in hidden.columns[1:]})
    parts += ["## Errors from hidden states against float64", report.table(hidden)]
    return "\n\n".join(parts) + "\n"


def _size(group):
    return " × ".join(map(str, group["shape"].iloc[0])) + f" {group['dtype'].iloc[0]}"


def bars(found):
    """Return each bar with what was measured and whether it is met."""
    records = {(r["task"], r["method"]): r for r in found["rows"]}
    lines = _speed_bars(records, found["rates"])
    lines += [_over_floor(records, *bar) for bar in OVER_FLOOR]
    lines += _memory_bars(records)
    lines += report.error_bars(found["errors"]) + _hidden_error_bars(found["hidden_errors"])
    return report.in_words(pd.DataFrame(lines, columns=report.COLUMNS))


def _speed_bars(records, rates):
    """Return the bars of the forward pass: share of a copy's bandwidth, TRL's kernel, entropy alone."""
    ours = records.get((tasks.FORWARD, methods.OURS))
    trl = next((r for (t, m), r in records.items() if t == tasks.FORWARD and m.startswith("TRL")), None)
    alone = records.get((tasks.FORWARD, device.ENTROPY_ALONE))
    share = ours and 2 * ours["shape"][0] * ours["shape"][1] / ours["seconds"]
    share = ours and share / rates["bytes_per_second_of_a_copy"]
    faster = ours and trl and trl["seconds"] / ours["seconds"]
    slower = ours and alone and ours["seconds"] / alone["seconds"]
    return [
        _line(
            f"{tasks.FORWARD}: share of a copy's bandwidth", ours, share, "{:.0%}", f"≥ {COPY_SHARE:.0%}", 1
        ),
        _line(f"{tasks.FORWARD}: against TRL's kernel", ours, faster, "{:.2f} times faster", "≥ 1", 1),
        _line(
            f"{tasks.FORWARD}: varentropy and all, against entropy alone",
            ours,
            slower,
            "{:.2f} ×",
            "≤ 1.15",
            -1,
        ),
    ]


def _over_floor(records, task, method, floor, limit):
    record = records.get((task, method))
    ratio = record and record["ratio_to_floor"]
    return _line(f"{task}: {method}, over {floor}", record, ratio, "{:.2f} ×", f"≤ {limit}", -1)


def _line(what, record, value, form, bar, sign):
    """Return one bar; the number in its text is the limit, from below (sign 1) or from above (sign −1)."""
    shape, dtype = (record["shape"], record["dtype"]) if record else ((), "bfloat16")
    if not value:
        return what, shape, dtype, "not measured", bar, None
    number = bar.split()[1]
    limit = float(number.rstrip("%")) / (100 if number.endswith("%") else 1)
    return what, shape, dtype, form.format(value), bar, sign * value >= sign * limit


def _memory_bars(records):
    lines = []
    for (task, method), record in records.items():
        rows, actions = record["shape"]
        of_rows, logits = rows * A_ROW / 2**20, 2 * rows * actions / 2**20
        limit = {
            (tasks.FORWARD, methods.OURS): of_rows,
            (tasks.STEP, methods.OURS): of_rows,
            (tasks.BACKWARD, tasks.REUSED): of_rows,
            (tasks.BACKWARD, tasks.FRESH): of_rows + logits,
            (device.HIDDEN_FORWARD, methods.OURS): TILES,
        }.get((task, method))
        if limit:
            extra = record["extra_mebibytes"]
            said = f"{extra:.0f} MiB", f"≤ {limit:.0f} MiB", extra <= limit
            lines.append((f"{task}: {method}, memory", record["shape"], record["dtype"], *said))
    return lines


def _hidden_error_bars(errors):
    ours = next((e for e in errors if e["method"] == methods.OURS), None)
    return [
        (f"error from hidden states: {name.replace('_', ' ')}", (), "bfloat16", *_verdict(ours, name, limit))
        for name, limit in ERRORS_FROM_HIDDEN.items()
    ]


def _verdict(ours, name, limit):
    if ours is None:
        return "not measured", f"≤ {limit:.0e}", None
    return f"{ours[name]:.1e}", f"≤ {limit:.0e}", ours[name] <= limit
