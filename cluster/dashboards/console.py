"""The dashboard as a page of Prometheus's own, for machines that have no Grafana.

Debian's Prometheus brings a console: templates that it fills in, and graphs (Rickshaw) that it
serves. The panels are those of `factory.json`, with its variables at their defaults.
"""

import html
import json
from typing import Any

WINDOW_S = 1800
WINDOWS = {"5 minutes": 300, "30 minutes": WINDOW_S, "6 hours": 21600, "2 days": 172800}
RATE_S = 40
"""What a rate is taken over at least: four of the scrape intervals, as Grafana does it."""
REFRESH_S = 30
_FORMATS = {"percentunit": "humanizePercentage", "currencyUSD": 'printf "%.2f"'}
_FORMATTERS = {
    "percentunit": "y => Math.round(y * 100) + '%'",
    "percent": "y => Math.round(y) + '%'",
    "bytes": "y => PromConsole.NumberFormatter.humanize1024(y)",
}
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="%(refresh)d">
<title>%(title)s</title>
<link rel="stylesheet" href="{{ pathPrefix }}/classic/static/rickshaw/rickshaw.min.css">
<link rel="stylesheet" href="{{ pathPrefix }}/classic/static/css/prom_console.css">
<script src="{{ pathPrefix }}/classic/static/d3/d3.min.js"></script>
<script src="{{ pathPrefix }}/classic/static/vendor/rickshaw/vendor/d3.layout.min.js"></script>
<script src="{{ pathPrefix }}/classic/static/rickshaw/rickshaw.min.js"></script>
<script src="{{ pathPrefix }}/classic/static/jquery/jquery.min.js"></script>
<script>var PATH_PREFIX = "{{ pathPrefix }}";</script>
<script src="{{ pathPrefix }}/classic/static/js/prom_console.js"></script>
<script>
const WINDOW = +new URLSearchParams(location.search).get("window") || %(window)d;
function draw(node, settings, format) {
  const over = Math.max(%(rate)d, Math.round(WINDOW / 60)) + "s";
  new PromConsole.Graph(Object.assign(settings, {
    node: document.getElementById(node),
    expr: settings.expr.map(one => one.replaceAll("$__rate_interval", over)),
    duration: WINDOW,
    yAxisFormatter: y => y ? format(y) : "",  // a label at the bottom would be cut in half
    yHoverFormatter: format,
  }));
}
</script>
<style>
body { font: 14px sans-serif; margin: 16px 24px; color: #222; background: #f4f5f5; }
main { display: grid; grid-template-columns: repeat(24, minmax(0, 1fr)); gap: 10px; }
h1 { font-size: 20px; margin: 0 0 4px; }
h2 { font-size: 16px; margin: 12px 0 0; grid-column: 1 / -1; }
h3 { font-size: 14px; margin: 0 0 6px; }
section { background: #fff; border: 1px solid #ddd; border-radius: 3px; padding: 8px 12px; min-width: 0; }
.figure { font-size: 28px; color: #1f60c4; }
.graph table { width: 100%%; }
.rickshaw_legend { background: none; color: #222; padding: 2px 0; white-space: normal; }
.rickshaw_legend .line { display: inline-block; padding-right: 14px; }
.rickshaw_legend .label { text-shadow: none; }
</style>
</head>
<body>
<h1>%(title)s</h1>
<p>%(description)s %(prices)s. Figures of the last half hour, graphs of the last %(windows)s.</p>
<main>
"""


def page(dashboard: dict[str, Any]) -> str:
    """The template of a console page with a dashboard's panels."""
    values = _values(dashboard)
    prices = ", ".join(
        f"{one['label']}: {one['query']}" for one in dashboard["templating"]["list"] if one["type"] == "textbox"
    )
    told = {name: html.escape(dashboard[name]) for name in ("title", "description")}
    windows = ", ".join(f'<a href="?window={seconds}">{name}</a>' for name, seconds in WINDOWS.items())
    numbers = {"refresh": REFRESH_S, "window": WINDOW_S, "rate": RATE_S}
    parts = [_HEAD % {**told, **numbers, "prices": html.escape(prices), "windows": windows}]
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            parts.append(f"<h2>{html.escape(panel['title'])}</h2>\n")
            continue
        place, title = panel["gridPos"], html.escape(panel["title"])
        inside = _figure(panel, values) if panel["type"] == "stat" else _graph(panel, values)
        hint = html.escape(panel["description"], quote=True)
        parts.append(
            f'<section style="grid-column: span {place["w"]}" title="{hint}"><h3>{title}</h3>{inside}</section>\n'
        )
    return "".join([*parts, "</main>\n</body>\n</html>\n"])


def expressions(dashboard: dict[str, Any]) -> list[tuple[str, str]]:
    """The title of each panel and what it asks Prometheus, a line for each question, ready to be asked."""
    values = _values(dashboard)
    return [
        (panel["title"], _filled(target["expr"], {**values, "__rate_interval": f"{RATE_S}s"}))
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]


def _values(dashboard: dict[str, Any]) -> dict[str, str]:
    given = {
        one["name"]: one.get("allValue") or one["query"]
        for one in dashboard["templating"]["list"]
        if one["type"] in ("query", "textbox")
    }
    return {"__range": f"{WINDOW_S}s", **given}


def _filled(expression: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        expression = expression.replace(f"${name}", value)
    return expression


def _figure(panel: dict[str, Any], values: dict[str, str]) -> str:
    (target,) = panel["targets"]
    shown = _FORMATS.get(panel["fieldConfig"]["defaults"]["unit"], "humanize")
    expression = _filled(target["expr"], {**values, "__rate_interval": f"{RATE_S}s"})
    asked = f"{{{{ with query `{expression}` }}}}"
    return f'<div class="figure">{asked}{{{{ . | first | value | {shown} }}}}{{{{ else }}}}no data{{{{ end }}}}</div>'


def _graph(panel: dict[str, Any], values: dict[str, str]) -> str:
    defaults, node = panel["fieldConfig"]["defaults"], f"panel-{panel['id']}"
    settings = {
        "expr": [_filled(target["expr"], values) for target in panel["targets"]],
        "name": [
            target["legendFormat"].replace("{{", "[[ ").replace("}}", " ]]") for target in panel["targets"]
        ],
        "height": 180,
        "xTitle": "",
        "min": 0,
        **({"max": defaults["max"]} if "max" in defaults else {}),
        "renderer": "area" if "stacking" in defaults["custom"] else "line",
    }  # fmt: skip
    formatter = _FORMATTERS.get(defaults["unit"], "y => PromConsole.NumberFormatter.humanize(y)")
    return f'<div class="graph" id="{node}"></div><script>draw("{node}", {json.dumps(settings)}, {formatter});</script>'
