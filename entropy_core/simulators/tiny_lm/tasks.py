"""Two tasks whose answers a program can verify: one right answer to a prompt, or many.

Both ask for three digits. In `ADDITION` they are the sum, `27+85=` → `112`, and one answer of a thousand is
right. In `DIGIT_SUM` they add up to the two-digit target, `13=` → `454`, so that up to 75 answers are right
and a policy need not lose entropy to be right. Everything is a tensor of token indices on the host.

A prior in the sense of a pretrained model does not exist at this size. It is made, by imitating
demonstrations with errors that are drawn here on purpose; what a run shows holds for the prior it began with.
"""

from typing import NamedTuple

import numpy as np
import torch

from entropy_core._shapes import Bool, Int

__all__ = [
    "ADDITION",
    "CARRIED_ADDITION",
    "DEMONSTRATIONS",
    "DIGIT_SUM",
    "Task",
    "decode",
    "demonstrations",
    "draw_prompts",
    "encode",
    "every_prompt",
    "is_right",
    "right_answers",
    "wanted_numbers",
]

SYMBOLS = "0123456789+="
ANSWER_LENGTH = 3
DEMONSTRATIONS = ("clean", "aligned", "flat", "adversarial")


class Task(NamedTuple):
    """What the prompts look like and how digits are counted, in prompts and in answers.

    Args:
        name: what to call it.
        operands: two-digit numbers in a prompt.
        smallest: the smallest operand.
        largest: the largest operand.
        place_values: what each digit of an answer counts; the wanted number is the sum of the operands.
        smallest_ones: what the last digits of the operands add up to at least; 10 asks for a carry, 0 for
            nothing.
    """

    name: str
    operands: int
    smallest: int
    largest: int
    place_values: tuple[int, int, int]
    smallest_ones: int = 0

    @property
    def prompt_length(self) -> int:
        """Tokens of a prompt."""
        return 3 * self.operands


ADDITION = Task("addition", operands=2, smallest=0, largest=99, place_values=(100, 10, 1))
CARRIED_ADDITION = ADDITION._replace(name="addition with a carry", smallest_ones=10)
DIGIT_SUM = Task("digit sum", operands=1, smallest=7, largest=20, place_values=(1, 1, 1))


def encode(text: str) -> list[int]:
    """Token indices of a text: each symbol is a token.

    Args:
        text: digits, + and = only.

    Returns:
        One index a symbol.

    Raises:
        ValueError: a symbol is not in the vocabulary.

    Example:
        >>> encode("27+85=")
        [2, 7, 10, 8, 5, 11]
    """
    unknown = sorted(set(text) - set(SYMBOLS))
    if unknown:
        raise ValueError(f"text must consist of the symbols {SYMBOLS}; got {unknown}. Leave out spaces.")
    return [SYMBOLS.index(symbol) for symbol in text]


def decode(tokens: Int[torch.Tensor, " tokens"]) -> str:
    """Text of token indices.

    Args:
        tokens: indices into the vocabulary.

    Returns:
        One symbol a token.

    Example:
        >>> decode(torch.tensor([2, 7, 10, 8, 5, 11]))
        '27+85='
    """
    return "".join(SYMBOLS[token] for token in tokens.tolist())


def draw_prompts(generator: np.random.Generator, task: Task, count: int) -> Int[torch.Tensor, "count length"]:
    """Draw prompts of a task, each alike.

    Args:
        generator: source of randomness; its state is advanced.
        task: the task.
        count: number of prompts, at least 1.

    Returns:
        Token indices; the same prompt may come twice.

    Raises:
        ValueError: count is below 1, or the task has no prompt.

    Example:
        >>> [decode(prompt) for prompt in draw_prompts(np.random.default_rng(0), ADDITION, 2)]
        ['85+63=', '51+26=']
    """
    if count < 1:
        raise ValueError(f"count must be at least 1; got {count}. A batch needs a prompt.")
    numbers = generator.integers(task.smallest, task.largest + 1, (count, task.operands))
    if task.smallest_ones:
        _permitted(task)
    while len(missing := np.flatnonzero((numbers % 10).sum(-1) < task.smallest_ones)):
        shape = len(missing), task.operands
        numbers[missing] = generator.integers(task.smallest, task.largest + 1, shape)
    return _written(task, torch.from_numpy(numbers))


def every_prompt(task: Task) -> Int[torch.Tensor, "count length"]:
    """List every prompt of a task once.

    Args:
        task: the task.

    Returns:
        Token indices, the first operand counting slowest: 14 prompts of the digit sum, 10 000 of addition, of
        which 4500 have a carry.

    Raises:
        ValueError: the task has no prompt.

    Example:
        >>> [decode(prompt) for prompt in every_prompt(DIGIT_SUM)[[0, -1]]]
        ['07=', '20=']
    """
    return _written(task, _permitted(task))


def wanted_numbers(task: Task, prompts: Int[torch.Tensor, "batch length"]) -> Int[torch.Tensor, " batch"]:
    """The number that each prompt asks for: the sum of its operands.

    Args:
        task: the task.
        prompts: token indices.

    Returns:
        One number a prompt.

    Raises:
        ValueError: the prompts are not as long as the task's.

    Example:
        >>> wanted_numbers(ADDITION, torch.tensor([encode("27+85=")])).tolist()
        [112]
    """
    if prompts.shape[-1] != task.prompt_length:
        raise ValueError(
            f"prompts of the task {task.name} have {task.prompt_length} tokens; got {prompts.shape[-1]}. "
            "Draw them with draw_prompts for the same task."
        )
    operands = prompts.unflatten(-1, (task.operands, 3))
    return (10 * operands[..., 0] + operands[..., 1]).sum(-1)


def is_right(
    task: Task, prompts: Int[torch.Tensor, "batch length"], answers: Int[torch.Tensor, "batch 3"]
) -> Bool[torch.Tensor, " batch"]:
    """Whether each answer is three digits that count up to the number that its prompt asks for.

    Args:
        task: the task.
        prompts: token indices.
        answers: token indices; one that is not a digit makes its answer wrong.

    Returns:
        One truth value an answer.

    Example:
        >>> prompts = torch.tensor([encode("13="), encode("13="), encode("13=")])
        >>> is_right(DIGIT_SUM, prompts, torch.tensor([encode(a) for a in ("454", "455", "94=")])).tolist()
        [True, False, False]
    """
    counted = (answers * torch.tensor(task.place_values, device=answers.device)).sum(-1)
    return (answers < 10).all(-1) & (counted == wanted_numbers(task, prompts))


def right_answers(task: Task, prompt: Int[torch.Tensor, " length"]) -> Int[torch.Tensor, "answers 3"]:
    """Every right answer to one prompt.

    Args:
        task: the task.
        prompt: token indices.

    Returns:
        The answers, the smallest number first: 1 in addition, from 36 to 75 in the digit sum.

    Example:
        >>> answers = right_answers(DIGIT_SUM, torch.tensor(encode("13=")))
        >>> len(answers), [decode(answer) for answer in answers[:3]]
        (75, ['049', '058', '067'])
    """
    every = _every_answer()
    return every[is_right(task, prompt.expand(len(every), -1), every)]


def demonstrations(
    generator: np.random.Generator, task: Task, prompts: Int[torch.Tensor, "batch length"], kind: str
) -> Int[torch.Tensor, "batch 3"]:
    """Draw answers to imitate: right answers to the prompt's number, or to another one near it.

    number = wanted + slip, answer ~ uniform on the answers that count up to it

    This is how priors are made. After "aligned" demonstrations a right answer is likelier than one to any
    other number; after "flat" ones as likely as each of ten others; after "adversarial" ones a mistake is
    likelier than what is right.

    Args:
        generator: source of randomness; its state is advanced.
        task: the task.
        prompts: token indices.
        kind: "clean" never slips. "aligned" slips half of the time, by 1 to 5 up or down. "flat" slips by −5
            to 5, each alike. "adversarial" slips nine times of ten: it drops the carry of the ones in
            addition, where there is one, and counts up to one more in the digit sum. A slip below 0
            goes to the other side instead.

    Returns:
        Token indices of one answer a prompt.

    Raises:
        ValueError: the kind is unknown.

    Example:
        >>> prompts = torch.tensor([encode("27+85=")])
        >>> decode(demonstrations(np.random.default_rng(0), ADDITION, prompts, "adversarial")[0])
        '102'
    """
    if kind not in DEMONSTRATIONS:
        raise ValueError(f"kind must be one of {', '.join(DEMONSTRATIONS)}; got {kind!r}.")
    wanted, count = wanted_numbers(task, prompts).numpy(), len(prompts)
    chance, size = generator.random((2, count))
    direction = generator.choice([-1, 1], count)
    if kind == "aligned":
        slip = np.where(chance < 0.5, direction * (1 + np.floor(5 * size)), 0)
    elif kind == "flat":
        slip = np.floor(11 * size) - 5
    elif kind == "adversarial":
        slip = np.where(chance < 0.9, _mistake(task, prompts), 0)
    else:
        slip = np.zeros(count)
    every = _every_answer()
    counted = (every * torch.tensor(task.place_values)).sum(-1).numpy()
    number = wanted + slip
    number = np.where(number < 0, wanted - slip, number)
    order = counted.argsort(kind="stable")
    first, end = (counted[order].searchsorted(number, side) for side in ("left", "right"))
    return every[order[first + (generator.random(count) * (end - first)).astype(int)]]


def _every_answer():
    """Return the thousand answers of three digits."""
    return torch.cartesian_prod(*[torch.arange(10)] * ANSWER_LENGTH)


def _mistake(task, prompts):
    """Return the slip of an adversarial demonstration."""
    if task.operands == 1:
        return np.ones(len(prompts))
    ones = prompts.unflatten(-1, (task.operands, 3))[..., 1].sum(-1).numpy()
    return np.where(ones >= 10, -10, 0)


def _permitted(task):
    """Return the operands of every prompt, and raise if there are none."""
    numbers = torch.cartesian_prod(*[torch.arange(task.smallest, task.largest + 1)] * task.operands)
    numbers = numbers.view(-1, task.operands)
    permitted = numbers[(numbers % 10).sum(-1) >= task.smallest_ones]
    if not len(permitted):
        raise ValueError(
            f"the task {task.name} has no prompt: no {task.operands} operands from {task.smallest} to "
            f"{task.largest} have last digits that add up to {task.smallest_ones}. Ask for less."
        )
    return permitted


def _written(task, numbers):
    """Return the prompts with these operands."""
    ends = torch.tensor(encode("+" * (task.operands - 1) + "=")).expand(len(numbers), -1)
    return torch.stack([numbers // 10, numbers % 10, ends], dim=-1).flatten(1)
