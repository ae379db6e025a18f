"""The dashboard as a console page of Prometheus, for machines without Grafana.

Debian's Prometheus has consoles: templates that it renders, and a graph library (Rickshaw) that it
serves. The panels are those of `factory.json`, with its variables at their defaults.
"""

import html
import json
from typing import Any

WINDOW_S = 1800
WINDOWS = {"5 minutes": 300, "30 minutes": WINDOW_S, "6 hours": 21600, "2 days": 172800}
RATE_S = 40
"""Minimum range of a rate: four scrape intervals, as in Grafana."""
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
    expr: settings.expr.map(expr => expr.replaceAll("$__rate_interval", over)),
    duration: WINDOW,
    yAxisFormatter: y => y ? format(y) : "",  // the label at the bottom would be cut off
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
<p>%(description)s %(prices)s. Single values cover the last half hour, graphs the last %(windows)s.</p>
<main>
"""


def build_page(dashboard: dict[str, Any]) -> str:
    """Return the template of a console page with a dashboard's panels."""
    values = _values(dashboard)
    prices = ", ".join(
        f"{variable['label']}: {variable['query']}"
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "textbox"
    )
    texts = {name: html.escape(dashboard[name]) for name in ("title", "description")}
    windows = ", ".join(f'<a href="?window={seconds}">{name}</a>' for name, seconds in WINDOWS.items())
    numbers = {"refresh": REFRESH_S, "window": WINDOW_S, "rate": RATE_S}
    parts = [_HEAD % {**texts, **numbers, "prices": html.escape(prices), "windows": windows}]
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            parts.append(f"<h2>{html.escape(panel['title'])}</h2>\n")
            continue
        position, title = panel["gridPos"], html.escape(panel["title"])
        content = _figure(panel, values) if panel["type"] == "stat" else _graph(panel, values)
        hint = html.escape(panel["description"], quote=True)
        parts.append(
            f'<section style="grid-column: span {position["w"]}" title="{hint}"><h3>{title}</h3>{content}</section>\n'
        )
    return "".join([*parts, "</main>\n</body>\n</html>\n"])


def expressions(dashboard: dict[str, Any]) -> list[tuple[str, str]]:
    """Return panel titles and their queries, one pair per query, with all variables replaced."""
    values = _values(dashboard)
    return [
        (panel["title"], _substitute(target["expr"], {**values, "__rate_interval": f"{RATE_S}s"}))
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]


def _values(dashboard: dict[str, Any]) -> dict[str, str]:
    variables = {
        variable["name"]: variable.get("allValue") or variable["query"]
        for variable in dashboard["templating"]["list"]
        if variable["type"] in ("query", "textbox")
    }
    return {"__range": f"{WINDOW_S}s", **variables}


def _substitute(expression: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        expression = expression.replace(f"${name}", value)
    return expression


def _figure(panel: dict[str, Any], values: dict[str, str]) -> str:
    (target,) = panel["targets"]
    format_ = _FORMATS.get(panel["fieldConfig"]["defaults"]["unit"], "humanize")
    expression = _substitute(target["expr"], {**values, "__rate_interval": f"{RATE_S}s"})
    query = f"{{{{ with query `{expression}` }}}}"
    return f'<div class="figure">{query}{{{{ . | first | value | {format_} }}}}{{{{ else }}}}no data{{{{ end }}}}</div>'


def _graph(panel: dict[str, Any], values: dict[str, str]) -> str:
    defaults, node = panel["fieldConfig"]["defaults"], f"panel-{panel['id']}"
    settings = {
        "expr": [_substitute(target["expr"], values) for target in panel["targets"]],
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
