"""The page of an atlas: one HTML file with its tiles, their numbers and losses, which needs nothing else."""

from __future__ import annotations

import base64
import html
import math
from string import Template
from typing import Any
from urllib.parse import quote

from ...models.wording import counted


def atlas_page(record: dict[str, Any], sheet: bytes) -> str:
    """Returns the HTML of an atlas's record, see `AtlasRecord`; `sheet` is the JPEG file of its tiles."""
    layers: dict[str, list[str]] = {}
    rows = math.ceil(len(record["tiles"]) / record["columns"])
    for place, tile in enumerate(record["tiles"]):
        layers.setdefault(tile["layer"], []).append(_tile(tile, place, record, rows))
    sections = "".join(
        f"<h2>{html.escape(layer)} <small>{counted(len(tiles), 'channel')}</small></h2><ul>{''.join(tiles)}</ul>"
        for layer, tiles in layers.items()
    )
    settings = {name: value for name, value in record["settings"].items() if value not in (None, False)}
    return _PAGE.substitute(
        title=html.escape(f"Features of {record['bundle']}"),
        bundle=html.escape(record["bundle"]),
        settings=html.escape(", ".join(f"{name} {value}" for name, value in settings.items())),
        sections=sections,
        side=record["tile"],
        width=record["tile"] * record["columns"],
        sheet=base64.b64encode(sheet).decode(),
    )


def _tile(tile: dict[str, Any], place: int, record: dict[str, Any], rows: int) -> str:
    """A tile: a link to its picture, and what the page says of it."""
    row, column = divmod(place, record["columns"])
    name = f"{tile['layer']}:{tile['channel']}"
    title = f"{name}{' (' + tile['label'] + ')' if tile['label'] else ''}"
    links = " ".join(
        f'<a href="{quote(file)}">{number}</a>'
        for number, file in enumerate(tile["files"], 1)
        if len(tile["files"]) > 1
    )
    total = record["settings"]["steps"]
    stopped = f"<small>stopped after {tile['steps']} of {total} steps</small> " if tile["steps"] < total else ""
    return (
        f'<li data-name="{html.escape(name)}" data-loss="{tile["loss"]:g}" data-words="{html.escape(title.lower())}">'
        f'<a href="{quote(tile["files"][0])}" title="{html.escape(title)}">'
        f'<span role="img" aria-label="{html.escape(title)}" '
        f'style="background-position:-{column * record["tile"]}px -{row * record["tile"]}px"></span></a>'
        f"<b>{html.escape(tile['label'] or str(tile['channel']))}</b> <i>{tile['loss']:.4g}</i> {stopped}{links}</li>"
    )


_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data: 'self' file:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>$title</title>
<style>
:root { color-scheme: light dark; --back: #fff; --text: #1a1a1a; --quiet: #595959; --line: #c8c8c8; }
@media (prefers-color-scheme: dark) { :root { --back: #141414; --text: #ededed; --quiet: #a8a8a8; --line: #484848; } }
body { margin: 1.5rem; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
small, p, i { color: var(--quiet); font-style: normal; }
small { font-weight: normal; }
form { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0; }
input, select { font: inherit; padding: .25rem .5rem; border: 1px solid var(--line); border-radius: .25rem;
 background: var(--back); color: var(--text); }
ul { list-style: none; margin: 0; padding: 0; display: grid; gap: .75rem;
 grid-template-columns: repeat(auto-fill, max(${side}px, 5.5rem)); } /* a tile may be narrower than its numbers */
li { font-size: .85rem; overflow-wrap: anywhere; }
li i { white-space: nowrap; } /* 1.2e-05 would be broken at its minus */
li[hidden] { display: none; }
li span { display: block; width: ${side}px; height: ${side}px; border-radius: .25rem;
 background-image: url("data:image/jpeg;base64,$sheet"); background-size: ${width}px auto; }
a { color: inherit; }
a:focus-visible span { outline: 3px solid #3b82f6; outline-offset: 2px; }
output { display: block; min-height: 3em; }
code { user-select: all; }
</style>
<h1>$title</h1>
<p>Each tile is drawn from noise so that one channel responds to it strongly. Below it are the channel's number and its
mean on the picture. A tile opens its picture. Settings: $settings.</p>
<form>
<label>Find <input type="search" id="find" placeholder="number or name"></label>
<label>Order <select id="order"><option value="number">by number<option value="loss">strongest first</select></label>
</form>
<output data-model="$bundle">Point at a tile for the command that dreams it.</output>
$sections
<script>
"use strict";
const tiles = [...document.querySelectorAll("li")], output = document.querySelector("output");
const places = new Map(tiles.map((tile, place) => [tile, place]));
document.querySelector("form").addEventListener("submit", event => event.preventDefault());
document.querySelector("#find").addEventListener("input", event => {
  const words = event.target.value.trim().toLowerCase();
  for (const tile of tiles) tile.hidden = !tile.dataset.words.includes(words);
});
document.querySelector("#order").addEventListener("change", event => {
  const byLoss = event.target.value === "loss";
  for (const list of document.querySelectorAll("ul"))
    list.append(...[...list.children].sort((one, other) => byLoss
      ? other.dataset.loss - one.dataset.loss : places.get(one) - places.get(other)));
});
function word(text) {
  return /^[A-Za-z0-9_.,:+-]+$$/.test(text) ? text : '"' + text + '"';
}
function show(event) {
  const tile = event.target.closest("li");
  if (!tile) return;
  const code = document.createElement("code");
  code.textContent = "onnxdream dream photo.jpg --model " + word(output.dataset.model) + " --channels " +
    word(tile.dataset.name);
  output.replaceChildren(code);
}
document.addEventListener("pointerover", show);
document.addEventListener("focusin", show);
</script>
</html>
""")
