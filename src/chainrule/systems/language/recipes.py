"""An LSTM that learns a text character by character."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainrule.core.course import Topic
from chainrule.core.recipe import Target, recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Size

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.systems.language.task import CharLanguageModel


@recipe(
    "char-lstm",
    task="language modelling by characters",
    data="tiny-shakespeare",
    kinds=("text",),
    source="Karpathy 2015 (char-rnn); Graves 2013",
    model="char-lstm",
    target=Target(
        "loss",
        1.55,
        "tiny-shakespeare",
        "this project's own; char-rnn publishes no figure for this text",
        "nats a character on the last 10 %, which nothing is chosen by; 2 layers of 256, within 20 minutes on two CPU cores",
    ),
    tiny={
        "data": "pydoc-topics",
        "characters": 20_000,
        "epochs": 2,
        "batch_size": 16,
        "length": 32,
        "hidden_size": 48,
        "log_every": 10,
    },
    summary_zh="逐字符的长短期记忆网络语言模型，沿时间截断",
    topics=(
        Topic("Adam", "Adam", lectures=(3,), command="chainrule train char-lstm lr=0.002"),
        Topic(
            "Stacked recurrent layers",
            "堆叠循环神经网络",
            lectures=(3,),
            command="chainrule train char-lstm num_layers=3",
        ),
    ),
)
def char_lstm(
    run: Run,
    *,
    epochs: Count = 10,
    batch_size: Count = 32,
    length: Count = 64,
    hidden_size: Count = 256,
    num_layers: Count = 2,
    embedding_size: Size = 0,
    dropout: Fraction = 0.3,
    lr: Positive = 5e-3,
    clip: NonNegative = 1.0,
    val_fraction: Fraction = 0.05,
    characters: Size = 0,
) -> CharLanguageModel:
    """Two LSTM layers of 256 (873,793 parameters) over one-hot characters: the state is carried, Adam, a cosine rate."""
    import torch

    from chainrule.data.text.characters import load_text, windows
    from chainrule.systems.language.char_lstm import CharLSTM
    from chainrule.systems.language.task import CharLanguageModel

    data = load_text(run.data, val_fraction=val_fraction, characters=characters)
    model = run.place(CharLSTM(len(data.spec.vocabulary), hidden_size, num_layers, embedding_size, dropout))
    optimizer = torch.optim.Adam(model.parameters(), lr, fused=True)
    steps = epochs * windows(data.spec.counts["train"], batch_size, length)
    return CharLanguageModel(
        run,
        data=data,
        model=model,
        optimizer=optimizer,
        schedule=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps),
        epochs=epochs,
        batch_size=batch_size,
        length=length,
        clip=clip,
    )
