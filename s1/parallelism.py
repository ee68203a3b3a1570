"""How generation uses the copies of a model: traces that decode together on each, and idle devices. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FEW_TRACES = 32  # on one copy: with fewer, a step is far from limited by arithmetic on current GPUs


@dataclass(frozen=True)
class Occupancy:
    """Traces of one stage on the copies of its worker."""

    traces: int  # that can decode at the same time: questions x samples of a stage
    copies: int
    slots: int  # of one copy
    tensor_parallel: int

    @property
    def together(self) -> int:
        """Traces that decode together on the fullest copy."""
        return max(1, min(self.slots, -(-self.traces // self.copies)))


@dataclass(frozen=True)
class SpeedRange:
    """Tokens per second of one copy."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        return (self.low * self.high) ** 0.5


def speed_at(tokens_per_second: float, measured_together: int, together: int) -> SpeedRange:
    """The speed of one copy at another number of traces than the one it was measured with.

    A step of decoding reads all weights once, whatever the number of traces, until arithmetic limits it: speed grows at
    most in proportion to the traces, and never falls with more of them.
    """
    proportional = tokens_per_second * together / measured_together
    return SpeedRange(min(tokens_per_second, proportional), max(tokens_per_second, proportional))


def idle_copies(occupancy: Occupancy, kv_heads: int) -> str | None:
    """Propose tensor instead of data parallelism where several copies share few traces; None: nothing to propose.

    vLLM divides a model over a number of devices that divides its heads of keys and values.
    """
    if occupancy.copies == 1 or occupancy.together >= min(FEW_TRACES, occupancy.slots):
        return None
    devices = occupancy.copies * occupancy.tensor_parallel
    wider = [
        each
        for each in range(occupancy.tensor_parallel + 1, devices + 1)
        if devices % each == 0 and kv_heads % each == 0
    ]
    if not wider:
        return None
    return (
        f"{occupancy.traces} traces over {occupancy.copies} copies leave each with {occupancy.together} of"
        f" {occupancy.slots} slots filled. Faster: machine.tensor_parallel={wider[-1]}"
        f" machine.data_parallel={devices // wider[-1]}, whose steps read the weights from more devices at once"
        " (tensor_parallel changes rounding, so it is part of the key)."
    )
