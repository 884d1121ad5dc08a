"""Features before networks learnt them: gradients, textures and patches of images, for a support vector machine.

`hog` and `local_binary_patterns` are designed by hand, `patch_dictionary` is learnt without labels. `feature_svm` puts a
linear machine behind one of them; `learning` fits it; `figures` shows what it sees.
"""
