"""Language models: the next character from all before it, by a long short-term memory.

    i, f, o = sigmoid(W x_t + U h_{t-1} + b)    c~ = tanh(W x_t + U h_{t-1} + b)
    c_t = f * c_{t-1} + i * c~                   h_t = o * tanh(c_t)
    p(next) = softmax(V h_t + d),                loss = mean over time of -log p(the character that came)

Each gate has weights of its own. A batch is many streams of one text side by side; the state is carried from batch to
batch, and gradients are cut there (truncated back-propagation through time). Perplexity is exp(loss).
"""

from chainrule.core.course import Family

FAMILY = Family("Language models", "语言模型", order=90, best="char-lstm")
