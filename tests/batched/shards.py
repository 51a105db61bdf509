"""Run by test_sharded in several processes: each holds some of the actions, computes, saves what it found.

What a process finds is a dictionary: a case's name to tensors, or to the text of the error that was raised.
"""

import datetime
import functools

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from entropy_core import batched
from entropy_core.batched import sharded
from tests.batched.calls import said
from tests.batched.test_large import NEVER, policies, steps

WIDTHS = {2: (5, 32), 4: (1, 20, 0, 16)}
WIDE = {2: (2049, 1951), 4: (1024, 3, 2049, 924)}
SECONDS = 60


def part(whole, widths, rank):
    """Return this rank's actions of the whole, where the last axis has no less."""
    return whole.split(widths, dim=-1)[rank]


def tokens_everywhere(z):
    """Return tokens that walk over the actions, so that every rank has some; forbidden ones among them."""
    return torch.arange(len(z)) * 5 % z.shape[-1]


def dead_rank(z, widths):
    """Return logits in which every action of the second rank is forbidden, in half of the rows."""
    z = z.clone()
    z[::2, widths[0] : widths[0] + widths[1]] = NEVER
    return z


def policy_cases(world):
    """Return by name: whole logits, the ranks' widths, temperature, mask."""
    narrow, wide = WIDTHS[world], WIDE[world]
    counted = torch.arange(len(policies(2, 37))) % 5 != 1
    whole = {dtype: policies(2, 37, dtype) for dtype in (torch.float64, torch.float32, torch.bfloat16)}
    return {
        **{str(dtype).split(".")[1]: (z, narrow, 1.0, None) for dtype, z in whole.items()},
        "temperature and mask": (whole[torch.float32], narrow, 0.5, counted),
        "blocks": (policies(2, 4000), wide, 1.0, None),
        "dead rank": (dead_rank(policies(2, 4000, torch.float64)[:8], wide), wide, 2.0, None),
    }


def weights_of(rows):
    """Return the weights of the four values in the one loss that every rank computes."""
    return torch.randn(4, rows, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def loss_of(moments):
    """Return one number of all values of all rows."""
    values = torch.stack([m.double() for m in moments])
    return (weights_of(values.shape[-1]) * torch.where(values == NEVER, 0.0, values)).sum()


def policy(rank, z, widths, temperature, counted):
    """Return the values and the gradient of the shard."""
    shard = part(z, widths, rank).clone().requires_grad_()
    moments = sharded.sharded_policy_moments(
        shard, tokens_everywhere(z), temperature=temperature, response_mask=counted
    )
    return *(m.detach() for m in moments), torch.autograd.grad(loss_of(moments), shard)[0]


def buffer(rank, world):
    """Return the gradient, and the buffer that was to receive it."""
    z, widths = policies(2, 37), WIDTHS[world]
    shard = part(z, widths, rank).clone().requires_grad_()
    into = torch.full(shard.shape, torch.nan)
    moments = sharded.sharded_policy_moments(shard, tokens_everywhere(z), gradient_buffer=into)
    return torch.autograd.grad(loss_of(moments), shard)[0], into


def step(rank, dtype, widths):
    """Return the values of a step."""
    z = policies(4, sum(widths), dtype)
    return tuple(sharded.sharded_step_moments(part(z, widths, rank), part(steps(z), widths, rank)))


def of_dtensor(mesh, placements, actions):
    """Return values and the local gradient for a DTensor, its step's values, and where it is placed."""
    z = policies(2, actions, torch.float64)
    whole = distribute_tensor(z, mesh, placements).requires_grad_()
    moments = sharded.sharded_policy_moments(whole, tokens_everywhere(z))
    (gradient,) = torch.autograd.grad(loss_of(moments), whole)
    moved = distribute_tensor(steps(z), mesh, placements)
    happened = sharded.sharded_step_moments(whole.detach(), moved)
    assert gradient.placements == whole.placements
    return *(m.detach() for m in moments), gradient.full_tensor(), *happened


def errors(rank, world, mesh):
    """Return what each rank is told when one rank, or all, ask for what there is not."""
    z, tokens = torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64)
    leaf = torch.zeros(3, 4, requires_grad=True)
    ours, odd = sharded.sharded_policy_moments, rank == 1
    whole = DTensor.from_local(z, mesh, [Shard(0)])

    calls = {
        "tokens of one rank": lambda: ours(z, tokens.float() if odd else tokens),
        "logits of one rank": lambda: ours(z.long() if odd else z, tokens),
        "no tensor on one rank": lambda: ours(None if odd else z, tokens),
        "temperature of one rank": lambda: ours(z, tokens, temperature=-1.0 if odd else 1.0),
        "temperatures": lambda: ours(z, tokens, temperature=1.0 + odd),
        "rows": lambda: ours(z[: 3 - odd], tokens[: 3 - odd]),
        "types": lambda: ours(z.double() if odd else z, tokens),
        "wrong buffer": lambda: ours(z, tokens, gradient_buffer=torch.zeros(3, 5)),
        "placement": lambda: ours(whole, tokens),
        "group of a DTensor": lambda: ours(
            DTensor.from_local(z, mesh, [Shard(1)]), tokens, group=dist.group.WORLD
        ),
        "one DTensor": lambda: sharded.sharded_step_moments(DTensor.from_local(z, mesh, [Shard(1)]), z),
        "gradient of a step": lambda: sharded.sharded_step_moments(leaf, z),
        "second derivative": lambda: torch.autograd.grad(
            ours(leaf, tokens).entropy.sum(), leaf, create_graph=True
        ),
        "not in the group": lambda: outside(rank, world, z, tokens),
    }
    return {name: said(call) for name, call in calls.items()}


def outside(rank, world, z, tokens):
    """Let the first rank alone share the actions, and every rank call."""
    sharded.sharded_policy_moments(z, tokens, group=dist.new_group([0]))


def everything(rank, world):
    """Return all that this process finds."""
    mesh = init_device_mesh("cpu", (world,))
    found = {name: policy(rank, *case) for name, case in policy_cases(world).items()}
    found["buffer"] = buffer(rank, world)
    for dtype in (torch.float64, torch.float32):
        found[f"step {dtype}"] = step(rank, dtype, WIDTHS[world])
    found["step blocks"] = step(rank, torch.float32, WIDE[world])
    found["DTensor"] = of_dtensor(mesh, [Shard(-1)], 2 * world - 3)
    if world == 4:
        square = init_device_mesh("cpu", (2, 2), mesh_dim_names=("copies", "actions"))
        found["DTensor, two copies"] = of_dtensor(square, [Replicate(), Shard(1)], 37)
    lost = sharded.sharded_policy_moments(torch.zeros(3, 4), torch.tensor([-1, 1, 4 * world]))
    found["token of no rank"] = tuple(lost)
    return found | errors(rank, world, mesh)


def run(rank, world, folder):
    """Join the others, compute, save."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=world,
        timeout=datetime.timedelta(seconds=SECONDS),
    )
    calls = []
    gather = dist.all_gather
    dist.all_gather = functools.partial(_counted, gather, calls)
    found = everything(rank, world)
    del calls[:]
    found["exchanges"] = exchanges(rank, world, calls)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def on_device(rank, world, folder, backend, device):
    """Join the others with a backend, compare with the whole on one device, save the largest differences.

    Logits are many enough to be read in blocks; after the exchange of facts nothing may wait.
    """
    device = torch.device(device, rank) if device == "cuda" else torch.device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    meeting = f"file://{folder}/meeting"
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=world)
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        z = policies(2, 4000 * world, dtype).to(device)
        widths = [4000 + 7 * (2 * (k % 2) - 1) * (world > 1) for k in range(world)]
        widths[-1] += 4000 * world - sum(widths)
        tokens, u = tokens_everywhere(z), steps(z.cpu()).to(device)
        shard = part(z, widths, rank).clone().requires_grad_()
        moments = sharded.sharded_policy_moments(shard, tokens)
        (gradient,) = torch.autograd.grad(moments.entropy.sum(), shard)
        leaf = z.clone().requires_grad_()
        expected = batched.policy_moments(leaf, tokens)
        (whole,) = torch.autograd.grad(expected.entropy.sum(), leaf)
        found[f"policy {dtype}"] = moments, expected
        found[f"gradient {dtype}"] = (gradient,), (part(whole, widths, rank),)
        happened = sharded.sharded_step_moments(shard.detach(), part(u, widths, rank))
        found[f"step {dtype}"] = happened, batched.step_moments(z, u)
    found = {name: [tuple(x.detach().cpu() for x in xs) for xs in pair] for name, pair in found.items()}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def _counted(gather, calls, parts, own, **options):
    calls.append(own.numel())
    return gather(parts, own, **options)


def exchanges(rank, world, calls):
    """Return how many numbers each exchange of one forward and backward pass takes from this rank."""
    policy(rank, *policy_cases(world)["float32"])
    return list(calls)
