"""Lightning: a LightningModule and a Trainer, with logger, checkpoints, bar and summary off."""

import logging
import warnings

from image_task import Clock, arguments, read, report

clock = Clock()
import lightning as L  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from torch_models import MODELS, Images  # noqa: E402

import_s = clock.lap()
warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
given = arguments()
task = given.task


class Classifier(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = MODELS[given.name]()

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.model(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_accuracy", (self.model(x).argmax(1) == y).float().mean(), batch_size=len(y))

    def test_step(self, batch, batch_idx):
        x, y = batch
        self.log("test_accuracy", (self.model(x).argmax(1) == y).float().mean(), batch_size=len(y))

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(
            self.parameters(), lr=task.lr, momentum=task.momentum, weight_decay=task.weight_decay
        )
        if not task.cosine:
            return optimizer
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


L.seed_everything(0, verbose=False)
loaders = {
    name: DataLoader(Images(x, y, task), batch_size=task.batch_size, shuffle=name == "train")
    for name, (x, y) in read(given.folder, task).items()
}
model = Classifier()
trainer = L.Trainer(
    accelerator="cpu",
    devices=1,
    max_epochs=given.epochs,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    num_sanity_val_steps=0,
)
trainer.fit(model, loaders["train"], loaders["val"])
accuracy = trainer.test(model, loaders["test"], verbose=False)[0]["test_accuracy"]
report(import_s, clock.lap(), accuracy, sum(p.numel() for p in model.parameters()))
