"""Segmentation: a class for every pixel.

A classifier is a segmenter already: its dense layers are convolutions that cover all of the last maps, so on a larger image
they give a map of scores. What is left is to bring that coarse map to the image's size: by fixed bilinear filters with the
scores of finer maps added (FCN), by unpooling at the places where the encoder's maxima stood and transposed convolution
(DeconvNet), by plain bilinear enlargement and convolutions (bilinear-net), or by small transposed convolutions with the
encoder's maps of the same size beside (U-Net).
"""

from chainrule.core.course import Family

FAMILY = Family("Semantic segmentation", "语义分割", order=25, best="unet", metric="miou")
