"""Why a network answers as it does: which pixels, which maps, which images. One concept a file.

`asking` says what is asked about: a class, or a unit of a layer. `gradients` has the gradient of it with respect to the
image and what is made of gradients; `relu_rules` guided back-propagation and the deconvnet; `grad_cam` and
`occlusion` where in the image. `receptive_field` is the arithmetic, `fields_of_layers` follows a network with it,
`effective_field` measures. `top_activations` finds what excites a map; `inversion` makes images from features and
from classes. `images` draws, `section` is what the page of `explain` shows of all this.
"""
