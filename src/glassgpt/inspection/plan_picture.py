"""The figures of a plan as something to look at in a terminal: tables and proportional bars. Prints nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from glassgpt.inspection.plan import GIB, MIB
from glassgpt.training.accelerators import YEAR

# Paul Tol's bright scheme, told apart by colour-blind eyes: https://sronpersonalpages.nl/~pault/
COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377")
FILLS = "█▒▓░▚▞"  # what tells the parts apart without colour
SOLID = str.maketrans(FILLS, "█" * len(FILLS))
SHORT = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


@dataclass(frozen=True)
class Picture:
    """Everything ``glassgpt plan`` shows; ``figures`` are what its --json prints."""

    figures: Mapping[str, Any]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        sections = [model, memory, work, hardware, scale, here, chapter]
        content = Group(*(part for section in sections for part in section(self.figures)))
        has_colour = console.color_system is not None and not console.no_color
        for segment in console.render(content, options):
            yield Segment(segment.text.translate(SOLID), segment.style) if has_colour else segment


def model(figures: Mapping[str, Any]) -> list[RenderableType]:
    """The shape and its parameters by part."""
    shape, counts, block = figures["model"], figures["parameters"], figures["block_parameters"]
    table = columns("", "one block", "all", "share")
    for index, (name, count) in enumerate(counts.items()):
        in_block = f"{block[name]:,}" if name in block else ""
        table.add_row(label(name, index), in_block, f"{count:,}", f"{count / counts['total']:.1%}")
    return [
        Text.assemble((shape["name"], "bold"), f"  {shape['num_layers']} blocks, {shape['num_heads']} heads, ")
        + Text(f"{shape['emb_dim']:,} wide, {shape['vocab_size']:,} tokens, context {shape['context_length']:,}"),
        Text("head tied to the token embedding" if shape["tied_head"] else "an output layer of its own")
        + Text(f", {'with' if shape['qkv_bias'] else 'without'} query, key and value bias\n"),
        Text.assemble(("Parameters", "bold"), f"  {counts['total']:,}"),
        Bar(without_total(counts)),
        table,
    ]


def memory(figures: Mapping[str, Any]) -> list[RenderableType]:
    """What training and generation hold at their fullest, by kind; what is gone by then has no number."""
    tasks = {"training": figures["training_memory"], "generation": figures["generation_memory"]}
    names = [*dict.fromkeys(name for parts in tasks.values() for name in without_total(parts)), "total"]
    table = columns("", *tasks)
    for index, name in enumerate(names):
        table.add_row(label(name, index), *(gib(parts[name]) if parts.get(name) else "" for parts in tasks.values()))
    only = figures["accelerators"][0] if len(figures["accelerators"]) == 1 else None
    whole = max(only["memory"] if only else 0, *(parts["total"] for parts in tasks.values()))
    bars = Table.grid(padding=(0, 1), expand=True)
    bars.add_column()
    bars.add_column(ratio=1)
    for task, parts in tasks.items():
        bars.add_row(task, Bar({name: parts.get(name, 0) for name in names[:-1]}, whole))
    setup = f"  {figures['dtype']}, batch {figures['batch']} of {figures['context']:,} tokens, {figures['optimizer']}"
    title = Text.assemble(("\nMemory at its fullest", "bold"), setup)
    return [title, bars, table, *(fits(only, tasks) if only else [])]


def fits(row: Mapping[str, Any], tasks: Mapping[str, Mapping[str, int]]) -> list[Text]:
    """Whether the plan fits the one accelerator that was asked for, a line a task."""
    return [
        Text(f"{task} {'fits' if parts['total'] <= row['memory'] else 'does not fit'} one {row['name']}: ")
        + Text(f"{gib(parts['total'])} of {gib(row['memory'])}")
        for task, parts in tasks.items()
    ]


def work(figures: Mapping[str, Any]) -> list[RenderableType]:
    """FLOPs of one token by part."""
    causal, full = figures["forward_flops"], figures["forward_flops_full"]
    table = columns("", "causal", "share", "full attention", "share")
    for name in causal:
        cells = [cell for parts in (causal, full) for cell in (si(parts[name]), f"{parts[name] / parts['total']:.1%}")]
        table.add_row("forward pass" if name == "total" else name.replace("_", " "), *cells)
    table.add_row("training, 3 forward passes", si(figures["training_flops"]), "", si(figures["training_flops_full"]))
    table.add_row("rule of thumb, 6 a parameter", si(figures["training_flops_rule"]))
    return [Text("\nFLOPs a token", style="bold"), table]


def hardware(figures: Mapping[str, Any]) -> list[RenderableType]:
    """Whether it fits and how long training takes, a row an accelerator."""
    task = figures["training"]
    table = columns("", "", "TFLOP/s", "GiB", "training", "generation", "time")
    table.columns[1].justify = "left"
    for row in figures["accelerators"]:
        rate = f"{row['peak'] / 1e12:g} {SHORT[row['peak_dtype']]}"
        verdicts = [share_of_memory(row[f"{name}_share"]) for name in ("training", "generation")]
        table.add_row(row["key"], row["name"], rate, f"{row['memory'] / GIB:g}", *verdicts, duration(row["seconds"]))
    text = f"  {si(task['tokens'])} tokens are {si(task['flops'])}FLOP, at {task['utilization']:.0%} of the peak rate"
    return [Text.assemble(("\nOn one accelerator", "bold"), text), table]


def share_of_memory(share: float) -> Text:
    return Text(f"fits {share:5.0%}", "green") if share <= 1 else Text(f"no {share:7.0%}", "red")


def scale(figures: Mapping[str, Any]) -> list[RenderableType]:
    """What each of several devices holds and sends, and how fast they are together."""
    if (found := figures.get("scale")) is None:
        return []
    held = ", ".join(f"{gib(count)} {name.replace('_', ' ')}" for name, count in found["memory"].items() if count)
    table = Table.grid(padding=(0, 2))
    table.add_row("memory of one", f"{gib(sum(found['memory'].values()))}: {held}")
    for kind, count in found["sent"].items():
        if count:
            rate, seconds = found["links"][kind], found["sending_seconds"][kind]
            table.add_row(f"sent, {kind}", f"{si(count)}B a step, {seconds:.3g} s at {rate / 1e9:g} GB/s")
    step = f"{found['step_seconds']:.3g} s for {found['tokens_per_step']:,} tokens"
    table.add_row("a step", f"{step}, of which computing {found['computing_seconds']:.3g} s")
    table.add_row("speed", f"{found['tokens_per_second']:,.0f} tokens/s, {duration(found['seconds'])} in all")
    title = f"  {found['layout']}, an estimate"
    return [Text.assemble((f"\nOn {found['ranks']} x {found['device']}", "bold"), title), table]


def here(figures: Mapping[str, Any]) -> list[RenderableType]:
    """What a run would do on this machine."""
    if (found := figures.get("here")) is None:
        return []
    table = Table.grid(padding=(0, 2))
    table.add_row("a step", found["formula"])
    table.add_row("", "micro-steps x (fixed + tokens x (blocks x a block + embedding, head and loss)) + update")
    task = f"{si(figures['training']['tokens'])} tokens take {duration(found['seconds'])}"
    table.add_row("speed", f"{found['tokens_per_second']:,.0f} tokens/s; {task}")
    parts = f"{gib(found['training'])} of training, {gib(found['process'])} of the process"
    table.add_row("memory", f"{gib(found['memory'])}: {parts}")
    title = f"  {found['device']}, measured in {found['calibration_seconds']:.1f} s"
    return [Text.assemble(("\nHere", "bold"), title), table]


def chapter(figures: Mapping[str, Any]) -> list[RenderableType]:
    """The chapter's own figures, where this model has some."""
    found, lines = figures["chapter"], []
    if "matrix_2048" in found:
        lines.append(f"2,048 x 2,048 = {found['matrix_2048']:,}: the parameters of such a layer without bias")
    if "parameters" in found:
        lines.append(f"{found['parameters']:,} parameters, {found['parameters_tied']:,} if the head were tied")
        lines.append(f"{found['mebibytes_float32']:,.2f} MB in float32, an MB being 2**20 bytes")
    for row in found.get("gpt3_years", ()):
        flops = f"{found['gpt3_flops']:.2e}".replace("+", "")
        lines.append(f"GPT-3 on one {row['name']}: {row['text_years']} years in the text")
        lines.append(f"  those are {flops} FLOPs at {row['implied_rate'] / 1e12:.2f} TFLOP/s;")
        lines.append(f"  at the assumed {row['text_rate'] / 1e12:g} TFLOP/s we get {row['years']:.1f} years")
    return [Text("\nIn chapter 4 of the book", style="bold"), *map(Text, lines)] if lines else []


@dataclass(frozen=True)
class Bar:
    """Parts side by side, each as wide as its share of ``whole`` (default: their sum); what is left over is dots."""

    parts: Mapping[str, float]
    whole: float | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        whole, width = self.whole or sum(self.parts.values()), options.max_width
        edges = [min(width, round(width * done / whole)) for done in accumulate(self.parts.values(), initial=0)]
        bar = Text()
        for index, (start, end) in enumerate(pairwise(edges)):
            bar.append(swatch(index).plain * (end - start), swatch(index).style)
        yield bar.append("·" * (width - edges[-1]), "dim")


def swatch(index: int) -> Text:
    """One cell of the bar's part ``index``."""
    return Text(FILLS[index], style=COLOURS[index])


def label(name: str, index: int) -> Text:
    """A row's name behind the swatch of its part of the bar; a total has none."""
    if name == "total":
        return Text("  total", style="bold")
    return Text.assemble(swatch(index), " ", name.replace("_", " "))


def without_total(parts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in parts.items() if name != "total"}


def columns(first: str, *rest: str) -> Table:
    """A table without lines: names to the left, numbers to the right."""
    table = Table(first, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in rest:
        table.add_column(name, justify="right")
    return table


def gib(count: float) -> str:
    return f"{count / GIB:,.1f} GiB" if count >= GIB else f"{count / MIB:,.1f} MiB"


def si(count: float) -> str:
    """A number with three digits and its unit: 855 M."""
    units = ["", "K", "M", "G", "T", "P", "E", "Z"]
    while count >= 1000 and len(units) > 1:
        count /= 1000
        units.pop(0)
    return f"{count:.3g} {units[0]}"


def duration(seconds: float) -> str:
    """A time in the largest unit of which there is at least one."""
    units = (("years", YEAR), ("days", 86400), ("hours", 3600), ("min", 60), ("s", 1))
    name, size = next((unit for unit in units if seconds >= unit[1]), units[-1])
    return f"{seconds / size:,.{0 if seconds >= 100 * size else 1}f} {name}"
