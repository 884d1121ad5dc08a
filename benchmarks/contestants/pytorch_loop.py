"""The loop of PyTorch's tutorials: Dataset, DataLoader, SGD, evaluation after each epoch."""

from image_task import Clock, arguments, read, report

clock = Clock()
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from torch_models import MODELS, Images  # noqa: E402

import_s = clock.lap()
given = arguments()
task = given.task

torch.manual_seed(0)
splits = read(given.folder, task)
loaders = {
    name: DataLoader(Images(x, y, task), batch_size=task.batch_size, shuffle=name == "train")
    for name, (x, y) in splits.items()
}
model = MODELS[given.name]()
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=task.lr, momentum=task.momentum, weight_decay=task.weight_decay)
scheduler = (
    torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, given.epochs * len(loaders["train"])) if task.cosine else None
)


def train() -> None:
    model.train()
    for batch, (x, y) in enumerate(loaders["train"]):
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if scheduler:
            scheduler.step()
        if batch % 100 == 0:
            print(f"loss {loss.item():.4f}")


def test(loader: DataLoader) -> float:
    model.eval()
    correct = 0
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(1) == y).type(torch.float).sum().item()
    return correct / len(loader.dataset)


for _ in range(given.epochs):
    train()
    print(f"validation accuracy {test(loaders['val']):.4f}")
accuracy = test(loaders["test"])
report(import_s, clock.lap(), accuracy, sum(p.numel() for p in model.parameters()))
