"""The task of a character-level language model: how likely each character is, given those before it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.answers import Ranking
from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.core.files import atomic
from chainrule.core.settings import Count, NonNegative
from chainrule.core.task import Deployable, Figure, TrainingBatch
from chainrule.data.batches import Batch
from chainrule.data.dataset import Dataset
from chainrule.data.inputs import Asked, answer_to
from chainrule.data.layout import Place
from chainrule.data.samplers.windows import stream_size, stream_starts
from chainrule.data.text.characters import Streams, TextSpec, TextSplit, decode, encode, read_texts
from chainrule.data.text.inputs import asked_texts
from chainrule.loops.supervised import fit
from chainrule.run.autocast import choose_autocast
from chainrule.run.run import Run
from chainrule.systems.language.carried_state import CarriedState
from chainrule.systems.language.deployment import deployable_step
from chainrule.systems.language.figures import characters_figure, heat_strip, text_page
from chainrule.systems.language.lstm import State

EVALUATION_STREAMS, EVALUATION_LENGTH = 32, 200  # parts of a text read in parallel, and characters of a window
CONTEXT = 200  # characters before its own that a part reads first, so that it does not start from an empty state
PASSAGE = 500  # characters shown in figures

MOST_DRAWN = 1_000_000  # characters of one call of `generate`


class CharLanguageModel:
    """A recurrent network that gives logits of the next character, learnt by truncated back-propagation through time.

        loss = -1/N sum over t of log p(x_t | x_1 ... x_{t-1})          nats a character

    The text is read in windows. The state after a window is carried into the next one, its gradient is not: the forward
    pass is that of the whole text, the backward pass ends at the beginning of the window (Williams, Peng 1990).

    Args:
        run: the run it belongs to.
        data: what `load_text` gave.
        model: `model(x (B, T), state)` gives logits (B, T, V) and the state; `model.step(x (B,), state)` one character.
        optimizer, schedule, epochs: the optimisation.
        batch_size, length: streams read in parallel, and the most characters of a window.
        clip: bound of the gradient's norm; 0 is none.
    """

    def __init__(
        self,
        run: Run,
        *,
        data: Dataset[TextSpec, TextSplit],
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        epochs: int,
        batch_size: int,
        length: int,
        clip: float,
    ) -> None:
        self.run, self.data, self.model = run, data, model
        self.optimizer, self.schedule, self.epochs = optimizer, schedule, epochs
        self.batch_size, self.length, self.clip = batch_size, length, clip
        self.vocabulary: list[str] = data.spec.vocabulary

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def train(self, run: Run) -> None:
        choose_autocast(run, self.modules(), self.example(), self.batch_size)
        self._check_autocast()
        streams = Streams(self.data.train.codes.to(run.device), self.batch_size, self.length, world=run.world)
        network = run.wrap_distributed(self.model)
        hidden = CarriedState(run.device, streams.mine, self.batch_size, run.world)

        def objective(batch: Batch) -> Tensor:
            # Truncated back-propagation through time, one window: forward from the state that the last window left,
            # keep the new state without its graph, and differentiate this window's loss alone.
            logits, state = network(batch.x, hidden.before(run.step, at_beginning=run.position == 0))
            hidden.after(state)
            # (B, T, V) -> (B, V, T) for cross_entropy, which gives (B, T); the mean of each stream is (B,)
            return batch.mean(F.cross_entropy(logits.transpose(1, 2), batch.y, reduction="none").mean(1))

        fit(
            run,
            modules=self.modules(),
            objective=objective,
            optimizer=self.optimizer,
            schedule=self.schedule,
            train=streams,
            epochs=self.epochs,
            validate=self._validate,
            choose_by=None if self.data.spec.val_is_test else ("loss", True),
            clip_norm=self.clip or None,
            keep={"hidden": hidden},
        )

    def evaluate(self, data: Place | None = None) -> dict[str, float]:
        if data is None:
            losses, _ = self.read(self.data.test.codes)
            self._test_losses = losses.cpu()  # kept for the figures
            self.measured = self.data.test
            return _metrics(losses)
        where, texts = read_texts(data)
        text = texts.get("test", texts["train"])
        if len(text) < 2:
            raise UserError("there are too few characters", where=where, expected="2 or more", found=len(text))
        self.measured = TextSplit(encode(text, self.vocabulary, where))
        return self.measure(self.measured)

    def protocol(self) -> str:
        made, size = self.data.spec.splits, len(self.vocabulary)
        of = f"vocabulary: the {size} characters of the whole text; the hidden state is carried along each text"
        if self.data.spec.val_is_test:
            return (
                f"nothing was held out to choose by: the weights are the last epoch's; test split ({made['test']}) measured "
                f"at the end, and after each epoch to be seen, which chose nothing; {of}"
            )
        return (
            f"validation split ({made['val']}) chose the epoch by its loss; "
            f"test split ({made['test']}) measured once, at the end; {of}"
        )

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        return {"model": (torch.zeros(1, self.length, dtype=torch.int64, device=self.run.device),)}

    def measure(self, split: TextSplit) -> dict[str, float]:
        """Loss in nats a character, perplexity exp(loss), and bits a character loss / ln 2."""
        return _metrics(self.read(split.codes)[0])

    @torch.inference_mode()
    def read(self, codes: Tensor) -> tuple[Tensor, State]:
        """Losses in nats (N - 1,) of all characters but the first, in order, and the state before the last of them.

        A long text is cut into parts that are read in parallel; each but the first begins `CONTEXT` characters early,
        unmeasured.
        """
        self.model.eval()
        codes = codes.to(self.run.device)
        count = len(codes) - 1
        # 1. Cut the text into parts of `size` characters.
        streams = max(1, min(EVALUATION_STREAMS, count // (4 * CONTEXT)))
        size, starts = stream_size(count, streams), stream_starts(count, streams).to(codes.device)
        early = CONTEXT if streams > 1 else 0
        state: State | None = None

        def read(starts: Tensor) -> Tensor:
            """Losses (streams, size) of the parts that begin there; several processes share them."""
            nonlocal state
            positions = starts[:, None] + torch.arange(-early, size + 1, device=codes.device)
            rows = codes[positions.clamp_min(0)]  # (streams, early + size + 1)
            # 2. Read the context of each part, for its state alone.
            losses, state = [], None
            if early:
                _, state = self._forward(rows[:, :early].long(), None)
                for part in state:
                    part[:, starts == 0] = 0.0  # the first part is the beginning of the text
            # 3. Read window after window, the state carried along.
            for begin in range(early, early + size, EVALUATION_LENGTH):
                window = rows[:, begin : min(begin + EVALUATION_LENGTH, early + size) + 1].long()
                logits, state = self._forward(window[:, :-1], state)
                losses.append(F.cross_entropy(logits.transpose(1, 2), window[:, 1:], reduction="none"))  # (streams, T)
            return torch.cat(losses, 1)

        # 4. Join the parts in the order of the text; where two overlap, the later one counts.
        together = self.run.world.map_rows(read, starts)  # (streams, size)
        result = together.new_empty(count)
        for start, values in zip(starts.tolist(), together, strict=True):
            result[start : start + size] = values
        assert state is not None
        return result, (state[0][:, -1:], state[1][:, -1:])  # that of the last part read here, (L, 1, H) each

    def predict(self, inputs: Iterable[str], out: Path | None, *, top: Count = 5) -> Iterator[dict[str, Any]]:
        """For each text, or file of text: how likely it is, and the `top` characters likeliest to come next."""
        for asked in self._asked(inputs):
            yield answer_to(asked, self._answer(encode(asked.value, self.vocabulary, _where(asked)), top))

    def generate(
        self, count: int, out: Path, *, prompt: str = "", length: Count = 500, temperature: NonNegative = 1.0
    ) -> list[dict[str, Any]]:
        """Texts that continue `prompt` by `length` characters, also written into `out`.

        Logits are divided by `temperature` before the draw; at 0 the likeliest character is taken. Without a prompt
        a text begins as after a line break. Of all texts together at most 1,000,000 characters are drawn.
        """
        if count * length > MOST_DRAWN:
            raise UserError(
                "so many characters are not drawn at once",
                expected=f"{MOST_DRAWN:,} at most in all",
                found=f"{count:,} texts of {length:,}",
                cure=f"--length {max(1, MOST_DRAWN // count)}",
            )
        texts = self.sample(count, prompt, length, temperature)
        with atomic.explain_os_errors(out):
            out.mkdir(parents=True, exist_ok=True)
        for number, text in enumerate(texts, start=1):
            atomic.write_text(out / f"sample-{number}.txt", text)
        return [{"text": text} for text in texts]

    @torch.inference_mode()
    def sample(
        self, count: int, prompt: str, length: int, temperature: float, generator: torch.Generator | None = None
    ) -> list[str]:
        """The texts of `generate`, drawn by `generator` (None: PyTorch's own)."""
        self.model.eval()
        before = prompt or ("\n" if "\n" in self.vocabulary else self.vocabulary[0])
        x = encode(before, self.vocabulary, "the prompt").long().to(self.run.device)
        logits, state = self._forward(x.expand(count, -1), None)
        drawn, last = [], logits[:, -1]
        for _ in range(length):
            drawn.append(draw(last, temperature, generator))
            logits, state = self._forward(drawn[-1][:, None], state)
            last = logits[:, 0]
        return [prompt + decode(codes, self.vocabulary) for codes in torch.stack(drawn, 1).cpu()]  # (count, length)

    def prepare(self, inputs: list[str]) -> dict[str, tuple[Tensor, ...]]:
        """The texts, or files of text, cut to the shortest of them and at most a window."""
        texts = list(self._asked(inputs))
        length = min(self.length, *(len(asked.value) for asked in texts))
        codes = [encode(asked.value[:length], self.vocabulary, _where(asked)) for asked in texts]
        return {"model": (torch.stack(codes).long().to(self.run.device),)}

    def training_batch(self) -> TrainingBatch:
        """The first window of every stream, from an empty state."""
        streams = Streams(self.data.train.codes.to(self.run.device), self.batch_size, self.length)
        batch = next(streams.epoch(0))

        def loss(output: tuple[Tensor, State], target: Tensor) -> Tensor:
            return F.cross_entropy(output[0].transpose(1, 2), target)

        return TrainingBatch(self.model, (batch.x,), batch.y, loss, self.optimizer)

    def deployable(self) -> Deployable:
        with torch.inference_mode():
            h = self._forward(torch.zeros(1, 1, dtype=torch.int64, device=self.run.device), None)[1][0]
        return deployable_step(self.model, self.vocabulary, (h.shape[0], h.shape[2]), lambda: self.data.test.codes)

    def figures(self) -> list[Figure]:
        codes = self.data.test.codes
        shown = decode(codes[1 : PASSAGE + 1], self.vocabulary)
        strip = heat_strip(
            shown,
            self._test_losses[: len(shown)].tolist(),
            "Where the text surprises",
            unit="nats",
            caption="The beginning of the test split; the shade is -ln p of the character after those before it.",
        )
        return [strip, self._samples_figure(), characters_figure(codes[1:].long(), self._test_losses, self.vocabulary)]

    # -- inside -------------------------------------------------------------------------------------------------

    def _forward(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        with self.run.autocast():
            logits, (h, c) = self.model(x, state)
        return logits.float(), (h.float(), c.float())

    def _check_autocast(self) -> None:
        """Not every CPU that multiplies in bfloat16 has an LSTM in it: UserError before the first step."""
        if isinstance(self.run.autocast(), contextlib.nullcontext):
            return
        try:
            with torch.no_grad():
                self._forward(torch.zeros(1, 1, dtype=torch.int64, device=self.run.device), None)
        except RuntimeError as error:
            raise UserError(
                "this device has no LSTM in bfloat16",
                where=self.run.record["hardware"],
                found=self.run.record.get("autocast", {}).get("why", "autocast=yes"),
                cure="autocast=no",
            ) from error

    def _validate(self) -> dict[str, float]:
        """Metrics on the validation split; a sample of each epoch goes into figures/, so that they can be compared."""
        text = self.sample(1, "", PASSAGE, 0.8, self._generator())[
            0
        ]  # in every process: with FSDP all take part in a forward pass
        self.run.save_image(f"sample-epoch-{self.run.epoch + 1:04d}", text_page(text))
        return self.measure(self.data.val)

    def _generator(self) -> torch.Generator:
        """For samples that must not change the random numbers of training."""
        return torch.Generator(self.run.device).manual_seed(self.run.seed)

    def _asked(self, inputs: Iterable[str]) -> Iterator[Asked[str]]:
        for asked in asked_texts(inputs, any_file=True):
            if not asked.value:
                raise UserError("the text is empty", expected="one character or more")
            yield asked

    def _answer(self, codes: Tensor, top: int) -> dict[str, Any]:
        codes = codes.to(self.run.device)
        answer: dict[str, Any] = {"characters": len(codes)}
        state = None
        if len(codes) > 1:
            losses, state = self.read(codes)
            answer |= {key: round(value, 6) for key, value in _metrics(losses).items()}
        with torch.inference_mode():
            self.model.eval()
            logits, _ = self._forward(codes[None, -1:].long(), state)
        best = logits[0, -1].softmax(0).cpu().topk(min(top, len(self.vocabulary)))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        likely = [(self.vocabulary[code], round(value, 6)) for code, value in pairs]
        return {**answer, "next": Ranking(likely, of="character", by="probability")}

    @cached_property
    def _test_losses(self) -> Tensor:
        return self.read(self.data.test.codes)[0].cpu()

    def _samples_figure(self) -> Figure:
        rows = [["temperature", "text"]]
        for temperature in (0.0, 0.5, 0.8, 1.0, 1.2):
            text = self.sample(1, "", PASSAGE // 2, temperature, self._generator())[0]
            rows.append([f"{temperature:g}", text])
        return Figure(
            "Samples",
            "At 0 the likeliest character is taken each time; at 1 characters are drawn from the model's probabilities.",
            table=rows,
        )


def draw(logits: Tensor, temperature: float, generator: torch.Generator | None = None) -> Tensor:
    """A character (B,) from softmax(logits / temperature), for logits (B, V); at temperature 0 the likeliest.

    >>> draw(torch.tensor([[0.0, 2.0, 1.0]]), temperature=0.0).tolist()
    [1]
    """
    if temperature == 0.0:
        return logits.argmax(-1)
    scaled = (logits - logits.amax(-1, keepdim=True)) / max(temperature, 1e-30)  # the largest is 0: no overflow
    return torch.multinomial(scaled.softmax(-1), 1, generator=generator)[:, 0]


def _where(asked: Asked[str]) -> str:
    """Where a text stands, for messages."""
    return "the text" if asked.name == asked.value else asked.name


def _metrics(losses: Tensor) -> dict[str, float]:
    loss = float(losses.cpu().double().mean())
    return {
        "loss": loss,
        "perplexity": math.exp(loss) if loss < 709.0 else math.inf,
        "bits_per_char": loss / math.log(2),
    }


TOPICS = (
    Topic(
        "Back-propagation through time, truncated",
        "随时间反向传播（截断）",
        lectures=(4,),
        code=("CharLanguageModel", "CarriedState"),
        command="chainrule train char-lstm length=128",
    ),
    Topic(
        "Language model, perplexity, sampling of text",
        "语言模型、困惑度、生成文本",
        lectures=(1, 3),
        code=("draw", "CharLanguageModel.generate"),
        command="chainrule generate RUN --prompt ROMEO --temperature 0.8",
    ),
)
