"""Keras 3: compile and fit on arrays. The backend is what KERAS_BACKEND says."""

from image_task import Clock, arguments, read, report

clock = Clock()
import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import layers, ops  # noqa: E402

import_s = clock.lap()
given = arguments()
task = given.task


def lenet() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(20, 5),
            layers.MaxPooling2D(),
            layers.Conv2D(50, 5),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(500, activation="relu"),
            layers.Dense(10),
        ]
    )


def resnet20() -> keras.Model:
    def conv(x, planes, stride):
        x = layers.Conv2D(planes, 3, stride, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)

    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(conv(inputs, 16, 1))
    for planes, first in ((16, 1), (32, 2), (64, 2)):
        for i in range(3):
            stride = first if i == 0 else 1
            out = conv(layers.ReLU()(conv(x, planes, stride)), planes, 1)
            if stride != 1:
                x = ops.pad(x[:, ::stride, ::stride, :], ((0, 0), (0, 0), (0, 0), (0, planes - x.shape[-1])))
            x = layers.ReLU()(layers.Add()([out, x]))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


keras.utils.set_random_seed(0)
splits = {
    name: ((x.astype("float32") / 255 - np.float32(task.mean)) / np.float32(task.std), y.astype("int64"))
    for name, (x, y) in read(given.folder, task).items()
}
model = {"lenet": lenet, "resnet20": resnet20}[given.name]()
steps = given.epochs * -(-len(splits["train"][0]) // task.batch_size)
rate = keras.optimizers.schedules.CosineDecay(task.lr, steps) if task.cosine else task.lr
model.compile(
    optimizer=keras.optimizers.SGD(rate, momentum=task.momentum, weight_decay=task.weight_decay),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(*splits["train"], batch_size=task.batch_size, epochs=given.epochs, validation_data=splits["val"], verbose=2)
_, accuracy = model.evaluate(*splits["test"], batch_size=task.batch_size, verbose=0)
report(import_s, clock.lap(), float(accuracy), sum(int(np.prod(w.shape)) for w in model.trainable_weights))
