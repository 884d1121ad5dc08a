"""Why a network answers as it does: which pixels, which feature maps, which images. One concept a file.

`target` is what is explained: a class, or a unit of a target layer. `gradients` has the gradient of its score with
respect to the image and what is made of gradients; `guided_backpropagation` that and the deconvnet; `grad_cam` and
`occlusion` where in the image. `receptive_field` holds the arithmetic, the fields of a whole network, effective
fields, and fields by occluders. `top_activations` finds what excites a map; `inversion` makes images from features and from classes. `images`
draws; `section` and `layer_rows` are what the page of `explain` shows of all this, within a `budget`.
"""
