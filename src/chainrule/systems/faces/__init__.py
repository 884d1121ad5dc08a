"""Faces: an embedding in which images of one person are near each other, learnt by triplets (FaceNet).

A network f gives each image a point on the unit sphere. For an anchor a, another image p of the same person and an
image n of someone else,

    loss = max(0, |f(a) - f(p)|^2 - |f(a) - f(n)|^2 + margin)

over negatives that are semi-hard in the batch: farther than the positive, but within the margin. Two images show one
person where their distance is below a threshold that the validation persons choose; an image is identified by the
nearest one in a gallery. Persons of the test are in no other split.
"""

from chainrule.core.course import Family

FAMILY = Family("Faces", "人脸", order=60, best="facenet")
