"""Selections over processes: the tokens that one process selects of the whole batch, on every rank the same.

The processes run once, `tests/batched/selection_ranks.py`; what they saved is looked at here.
"""

import pytest
import torch
import torch.multiprocessing

from entropy_core import batched
from entropy_core.batched.interventions import covariance_ranks
from tests.batched import selection_ranks as run

METHODS = {"clip_cov": 3, "kl_cov": 5}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return what every process found."""
    folder = tmp_path_factory.mktemp("ranks")
    context = torch.multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.batched.selection_ranks"])  # imports torch once for all processes
    torch.multiprocessing.start_processes(
        run.run, (str(folder),), nprocs=run.WORLD, start_method="forkserver"
    )
    return [torch.load(folder / f"{rank}.pt") for rank in range(run.WORLD)]


def worlds(found, name, world):
    """Return what the ranks of each group of this size found."""
    each = [process[name, world] for process in found]
    return [each[k : k + world] for k in range(0, run.WORLD, world)]


@pytest.mark.claim("selection-ignores-the-split")
@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("name", run.CASES)
def test_ranks_select_what_one_process_selects(found, name, world):
    log_probs, advantages, mask = run.batch_of(name)
    statistics = batched.token_statistics(log_probs, advantages, mask)
    terms = batched.token_covariance_terms(log_probs, advantages, mask)
    whole = {
        "clip_cov": batched.clip_cov_selection(
            log_probs, advantages, mask, run.FRACTION, run.LOW, run.HIGH, run.SEED
        ),
        "kl_cov": batched.kl_cov_selection(log_probs, advantages, mask, run.FRACTION),
    }
    for ranks in worlds(found, name, world):
        rows = torch.cat([rank[0] for rank in ranks])
        assert sorted(rows.tolist()) == list(range(len(mask)))
        assert torch.equal(torch.cat([rank[1] for rank in ranks]), terms[rows])
        for rank in ranks:
            assert all(torch.equal(a, b) for a, b in zip(rank[2], statistics, strict=True))
        for method, place in METHODS.items():
            selected = torch.cat([rank[place] for rank in ranks])
            assert torch.equal(selected, whole[method].selected[rows]), method
            for rank in ranks:
                keys, indices, eligible_count, wanted = rank[place + 1]
                assert torch.equal(keys, ranks[0][place + 1][0])
                assert torch.equal(indices, ranks[0][place + 1][1])
                assert eligible_count == whole[method].eligible_count
                assert wanted == batched.selection_size(run.FRACTION, int(mask.sum()))


def test_the_cases_are_what_they_are_called(found):
    sizes = lambda name, world: [len(process[name, world][0]) for process in found]  # noqa: E731
    assert sizes("ties", 4)[1] == 0
    held = found[1]["float64", 4][0]
    assert len(held) > 0
    assert not run.batch_of("float64")[2][held].any()
    assert sum(found[0]["one eligible", 4][3].flatten().tolist()) <= 1
    assert found[0]["one eligible", 4][4][2] == 1
    assert found[0]["one eligible", 4][4][3] > 1
    assert found[0]["all equal", 4][6][1].tolist() == sorted(found[0]["all equal", 4][6][1].tolist())
    assert len(found[0]["nothing counts", 4][6][1]) == 0


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "different counts",
            "ValueError: All parts must want the same number of tokens; got [10, 20, 30, 40]",
        ),
        ("one token twice", "ValueError: A token must be in one part only"),
        ("two methods", "ValueError: All ranks must bring candidates of one method"),
        ("infinite on one rank", "ValueError: token_log_probs and advantages must be finite"),
    ],
)
def test_every_rank_is_told(found, name, says):
    assert all(process[name].startswith(says) for process in found), found[0][name]


def test_only_the_group_may_call(found):
    assert found[0]["not in the group"] == "nothing"
    assert all(f["not in the group"].startswith("RuntimeError: This process is not in") for f in found[1:])


def test_without_processes_the_error_says_what_to_do():
    nothing = torch.zeros(1, 2)
    statistics = batched.token_statistics(nothing, nothing, nothing == 0)
    with pytest.raises(RuntimeError, match="where one process holds the batch"):
        covariance_ranks.gathered_token_statistics(statistics)
