"""How oscilloscopes of different vendors are asked for what they recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qmi.core.exceptions import QMI_InstrumentException


@dataclass(frozen=True)
class Scale:
    """How the numbers of a recording become times and volts.

    Attributes:
        start: Time of the first sample, in seconds from the trigger.
        interval: Time from one sample to the next, in seconds.
        step: Volts from one number to the next.
        zero: The number that stands for ``offset``.
        offset: In volts.
    """

    start: float
    interval: float
    step: float
    zero: float
    offset: float


@dataclass(frozen=True)
class Dialect:
    """The commands of a family of oscilloscopes; ``{n}`` is the number of the channel, ``{x}`` the value.

    Attributes:
        run: Records again and again.
        stop: Records no more.
        single: Records once, at the next trigger.
        timebase: Seconds per division, set and asked with ``?``.
        scale: Volts per division of a channel.
        coupled: Whether a channel is shown, and recorded.
        trigger_source: Which channel triggers.
        trigger_level: At which voltage, in volts.
        select: What is sent before a recording is asked for.
        data: The question that is answered by a block of numbers.
        data_type: Their type, as numpy knows it.
        preamble: The questions for what the numbers mean.
        read_scale: Makes the answers into that.
    """

    run: str
    stop: str
    single: str
    timebase: str
    scale: str
    shown: str
    trigger_source: str
    trigger_level: str
    select: tuple[str, ...]
    data: str
    data_type: str
    preamble: tuple[str, ...]
    read_scale: Callable[[list[float]], Scale]


def _ten_numbers(answers: list[float]) -> list[float]:
    if len(answers) != 10:
        raise QMI_InstrumentException(f"Expected 10 numbers in answer to ':WAV:PRE?', got {len(answers)}")
    return answers


def _keysight(answers: list[float]) -> Scale:
    _, _, _, _, interval, origin, reference, step, offset, zero = _ten_numbers(answers)
    return Scale(origin - reference * interval, interval, step, zero, offset)


def _rigol(answers: list[float]) -> Scale:
    # Here the vertical origin is a number of steps, not a voltage.
    _, _, _, _, interval, origin, reference, step, offset, zero = _ten_numbers(answers)
    return Scale(origin - reference * interval, interval, step, zero + offset, 0.0)


def _tektronix(answers: list[float]) -> Scale:
    start, interval, trigger, step, zero, offset = answers
    return Scale(start - trigger * interval, interval, step, zero, offset)


_WAV = Dialect(
    run=":RUN",
    stop=":STOP",
    single=":SING",
    timebase=":TIM:SCAL",
    scale=":CHAN{n}:SCAL",
    shown=":CHAN{n}:DISP",
    trigger_source=":TRIG:EDGE:SOUR CHAN{n}",
    trigger_level=":TRIG:EDGE:LEV",
    select=(":WAV:SOUR CHAN{n}", ":WAV:FORM BYTE"),
    data=":WAV:DATA?",
    data_type="u1",
    preamble=(":WAV:PRE?",),
    read_scale=_keysight,
)

DIALECTS: dict[str, Dialect] = {
    # InfiniiVision and Infiniium oscilloscopes, and many that imitate them.
    "keysight": _WAV,
    # DS1000Z, MSO5000 and the like.
    "rigol": Dialect(
        **{**vars(_WAV), "read_scale": _rigol, "select": (":WAV:SOUR CHAN{n}", ":WAV:MODE NORM", ":WAV:FORM BYTE")}
    ),
    # TDS, TBS, DPO, MDO.
    "tektronix": Dialect(
        run="ACQ:STOPA RUNST;STATE RUN",
        stop="ACQ:STATE STOP",
        single="ACQ:STOPA SEQ;STATE RUN",
        timebase="HOR:SCA",
        scale="CH{n}:SCA",
        shown="SEL:CH{n}",
        trigger_source="TRIG:A:EDGE:SOU CH{n}",
        trigger_level="TRIG:A:LEV",
        select=("HEAD OFF", "DAT:SOU CH{n}", "DAT:ENC RIB", "DAT:WID 1"),
        data="CURV?",
        data_type="i1",
        preamble=("WFMO:XZE?", "WFMO:XIN?", "WFMO:PT_O?", "WFMO:YMU?", "WFMO:YOF?", "WFMO:YZE?"),
        read_scale=_tektronix,
    ),
}
