"""The scaling chart as one Vega-Lite specification, which W&B's custom chart and report.html both draw.

It names no columns. It has placeholders, which W&B substitutes in a preset, and `filled` substitutes here (the page
does the same in the browser):

    ${field:x} y lo hi series      columns of the table (`FIELDS`, with the x of `XAxis`)
    ${string:x_title} x_scale      what the x axis says; "log" or "linear" (`strings`)

A row is one point (s1/report/chart_rows.py). Besides those columns the chart reads label, n, samples, thinking_lo,
thinking_hi, valid, problem, published, of_seed, key and cited, where a table has them.

Layers, from back to front: the band between the ends of the intervals of valid points, the line through these points,
the interval of each point, valid points (filled), invalid points (hollow, never on the band or the line), published
numbers (grey diamonds). Colour and shape tell series apart. A log axis leaves out points whose x is 0.

The specification keeps to what Vega-Lite 4, 5 and 6 have in common: W&B's own presets are written in 4.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeAlias

Specification: TypeAlias = dict[str, Any]

PRESET = "s1-scaling"  # its name on W&B
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
UNNAMED = "this scan"  # the only series of a scan has no name
SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "cross",
    "triangle-down",
    "triangle-right",
)  # diamonds are published numbers
GREY = "#7d828a"
HEIGHT_PX = 330
FIELDS = {"y": "accuracy", "lo": "lo", "hi": "hi", "series": "series"}


class XAxis(Enum):
    """What the x axis can show, by column; all are means per answer."""

    THINKING_TOKENS = "thinking_tokens"
    TOTAL_TOKENS = "total_tokens"
    DEVICE_SECONDS = "device_seconds_per_answer"
    USD = "usd_per_answer"

    @property
    def title(self) -> str:
        return {
            XAxis.THINKING_TOKENS: "mean thinking tokens",
            XAxis.TOTAL_TOKENS: "mean total tokens (thinking + answer)",
            XAxis.DEVICE_SECONDS: "device-seconds per answer (estimate from tokens)",
            XAxis.USD: "USD per answer (estimate from tokens)",
        }[self]

    @property
    def short(self) -> str:
        """For a list of choices."""
        return {
            XAxis.THINKING_TOKENS: "thinking tokens",
            XAxis.TOTAL_TOKENS: "total tokens",
            XAxis.DEVICE_SECONDS: "device-seconds",
            XAxis.USD: "USD",
        }[self]


class XScale(Enum):
    LOG = "log"  # to base 2
    LINEAR = "linear"


def fields(x: XAxis) -> dict[str, str]:
    """Columns by placeholder."""
    return {"x": x.value, **FIELDS}


def strings(x: XAxis, scale: XScale) -> dict[str, str]:
    """Texts by placeholder."""
    return {"x_title": x.title, "x_scale": scale.value}


def scaling_chart() -> Specification:
    """The specification with its placeholders, and with data that is named as W&B names it: "wandb"."""
    return {
        "$schema": SCHEMA,
        "description": "Accuracy with intervals over test-time compute; hollow points failed the audit.",
        "data": {"name": "wandb"},
        "width": "container",
        "height": HEIGHT_PX,
        "transform": _transforms(),
        "layer": [
            _layer(_ON_LINE, {"type": "area", "opacity": 0.14, "aria": False}, _between(), _colour()),
            _layer(_ON_LINE, {"type": "line", "strokeWidth": 1.6, "aria": False}, _at(), _colour()),
            _layer(_OURS, _rule(opacity=0.55), _between(), _colour()),
            _layer(f"{_OURS} && datum.is_valid", _points(filled=True), _at(), _marked()),
            _layer(f"{_OURS} && !datum.is_valid", _points(filled=False), _at(), _marked()),
            _layer(_PUBLISHED, _rule(color=GREY), _between(), {}),
            _layer(_PUBLISHED, _diamond(), _at(), _explained()),
        ],
    }


def filled(specification: Specification, columns: Mapping[str, str], texts: Mapping[str, str]) -> Specification:
    """Substitute all placeholders, as W&B does. Raises ValueError if one is left."""
    text = json.dumps(specification)
    for kind, values in (("field", columns), ("string", texts)):
        for name, value in values.items():
            text = text.replace(f"${{{kind}:{name}}}", json.dumps(value)[1:-1])
    if "${" in text:
        raise ValueError(f"specification: has a placeholder without a value: {text[text.index('${') :][:40]}")
    return json.loads(text)


def with_data(specification: Specification, rows: list[dict[str, Any]]) -> Specification:
    """The specification with its rows inside it."""
    return {**specification, "data": {"values": rows}}


# ------------------------------------------------------------------------------------------------- parts

_X = "datum['${field:x}']"
_PUBLISHED = "datum.is_published"
_OURS = "!datum.is_published"
_ON_LINE = "!datum.is_published && datum.is_valid && isValid(datum.interval_lo)"


def _transforms() -> list[dict[str, Any]]:
    """Drop rows without a place, then name what is drawn and what the tooltip says."""
    share = "format({}, '.1%')"
    ends = f"'[' + {share.format('datum.interval_lo')} + ', ' + {share.format('datum.interval_hi')} + ']'"
    tokens = "'[' + format(datum.thinking_lo, ',.1f') + ', ' + format(datum.thinking_hi, ',.1f') + ']'"
    calculated = {
        "place": f"toNumber({_X})",
        "share": "toNumber(datum['${field:y}'])",
        "interval_lo": "datum['${field:lo}']",
        "interval_hi": "datum['${field:hi}']",
        "line": f"datum['${{field:series}}'] || '{UNNAMED}'",
        "is_valid": "datum.valid === 'yes' || datum.valid === true || datum.valid === 1",
        "is_published": "datum.published === 'yes'",
        "seed_shown": "isValid(datum.of_seed) ? datum.of_seed : 'all'",
    }
    said = {
        "accuracy_said": share.format("datum.share"),
        "interval_said": f"isValid(datum.interval_lo) ? {ends} : 'not known'",
        "n_said": "isValid(datum.n) ? datum.n + ' questions'"
        " + (datum.samples > 1 ? ' x ' + datum.samples + ' samples' : '') : 'not known'",
        "x_said": "datum.place >= 1 ? format(datum.place, ',.1f') : format(datum.place, '.3~g')",
        "x_interval_said": f"'${{field:x}}' === 'thinking_tokens' && isValid(datum.thinking_lo) ? {tokens}"
        " : 'not known'",
        "audit_said": "datum.is_published ? 'published, not ours' + (datum.remark ? ': ' + datum.remark : '')"
        " : datum.is_valid ? 'valid' : 'invalid, off the line' + (datum.problem ? ': ' + datum.problem : '')",
        "source_said": "datum.cited || datum.key || 'none'",
    }
    parts = [
        "datum.label",
        "datum.line",
        "datum.accuracy_said",
        "datum.interval_said",
        "datum.n_said",
        "datum.audit_said",
    ]
    said["said"] = " + ', ' + ".join([*parts, "'${string:x_title} ' + datum.x_said"])
    return [
        {"filter": f"isValid({_X}) && isValid(datum['${{field:y}}'])"},
        {"filter": f"'${{string:x_scale}}' !== 'log' || toNumber({_X}) > 0"},
        *({"calculate": formula, "as": name} for name, formula in {**calculated, **said}.items()),
    ]


def _layer(condition: str, mark: dict[str, Any], *encodings: dict[str, Any]) -> dict[str, Any]:
    encoding = {name: channel for each in encodings for name, channel in each.items()}
    return {"transform": [{"filter": condition}], "mark": mark, "encoding": encoding}


def _rule(**style: Any) -> dict[str, Any]:
    return {"type": "rule", "strokeWidth": 1.1, "aria": False, **style}


def _points(filled: bool) -> dict[str, Any]:
    style = {"opacity": 1} if filled else {"strokeWidth": 2, "opacity": 1}
    return {"type": "point", "filled": filled, "size": 70, **style}


def _diamond() -> dict[str, Any]:
    return {"type": "point", "shape": "diamond", "filled": True, "size": 90, "color": GREY, "opacity": 1}


def _x() -> dict[str, Any]:
    scale = {"type": "${string:x_scale}", "base": 2, "nice": False, "padding": 18}
    axis = {"title": "${string:x_title}", "grid": False, "labelFlush": False, "labelOverlap": "greedy"}
    return {"field": "place", "type": "quantitative", "scale": scale, "axis": axis}


def _y(field: str) -> dict[str, Any]:
    axis = {"title": "accuracy", "format": ".0%", "tickCount": 6}
    return {"field": field, "type": "quantitative", "scale": {"zero": False, "nice": True}, "axis": axis}


def _at() -> dict[str, Any]:
    return {"x": _x(), "y": _y("share")}


def _between() -> dict[str, Any]:
    return {"x": _x(), "y": _y("interval_lo"), "y2": {"field": "interval_hi"}}


def _colour() -> dict[str, Any]:
    legend = {"title": None, "orient": "bottom", "columns": 2, "labelLimit": 400, "symbolLimit": 0, "symbolOpacity": 1}
    return {
        "color": {"field": "line", "type": "nominal", "legend": legend},
        "detail": {"field": "seed_shown", "type": "nominal"},
    }


def _marked() -> dict[str, Any]:
    """Colour, shape and tooltip of a point. Vega-Lite 5 would give shapes a legend of their own, so they have none."""
    shape = {"field": "line", "type": "nominal", "scale": {"range": list(SHAPES)}, "legend": None}
    return {**_colour(), "shape": shape, **_explained()}


def _explained() -> dict[str, Any]:
    """What a pointer and a screen reader find out about a point."""
    return {"tooltip": _tooltip(), "description": {"field": "said", "type": "nominal"}}


def _tooltip() -> list[dict[str, Any]]:
    shown = {
        "label": "point",
        "line": "series",
        "accuracy_said": "accuracy",
        "interval_said": "interval",
        "n_said": "n",
        "x_said": "${string:x_title}",
        "x_interval_said": "interval of x",
        "audit_said": "audit",
        "source_said": "key@digest",
    }
    return [{"field": name, "type": "nominal", "title": title} for name, title in shown.items()]
