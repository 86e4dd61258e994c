"""The data sets that are fetched: names, shapes, hashes, addresses and descriptions."""

from functools import partial

from skswae.datasets._archives import read_cifar10, read_coil20, read_openml
from skswae.datasets._cache import Source

MNIST = Source(
    name="MNIST",
    filename="mnist.npz",
    shapes={"X_train": (60000, 784), "y_train": (60000,), "X_test": (10000, 784), "y_test": (10000,)},
    digest="30c1d221017c4324c9e9cd6acd79996345a8d80bb68608ecba07b8f501924af6",
    image_shape=(1, 28, 28),
    target_names=tuple("0123456789"),
    urls=("https://www.openml.org/d/554",),
    download=partial(read_openml, name="mnist_784", n_train=60000),
    description="""MNIST: handwritten digits
=========================

70,000 grey images of 28 x 28 pixels from 0 to 255, 784 features, 10 classes: 60,000 training and 10,000 test
rows, in the original order.

Source: OpenML, data set mnist_784, version 1 (https://www.openml.org/d/554), after
http://yann.lecun.com/exdb/mnist/. The authors' page states no licence; Yann LeCun and Corinna Cortes hold the
copyright, and it is commonly given as CC BY-SA 3.0.

Cite: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86(11), 1998.
""",
)

FASHION_MNIST = Source(
    name="Fashion-MNIST",
    filename="fashion_mnist.npz",
    shapes=MNIST.shapes,
    digest="9ebc38be682e76917eeff92416700b02d4c8ee4d4f090ac9bd6d624082d4675f",
    image_shape=(1, 28, 28),
    target_names=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    urls=("https://www.openml.org/d/40996",),
    download=partial(read_openml, name="Fashion-MNIST", n_train=60000),
    description="""Fashion-MNIST: articles of clothing
===================================

70,000 grey images of 28 x 28 pixels from 0 to 255, 784 features, 10 classes: 60,000 training and 10,000 test
rows, in the original order.

Source: OpenML, data set Fashion-MNIST, version 1 (https://www.openml.org/d/40996), after
https://github.com/zalandoresearch/fashion-mnist. MIT licence, copyright Zalando SE.

Cite: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms", arXiv:1708.07747, 2017.
""",
)  # fmt: skip

CIFAR10 = Source(
    name="CIFAR-10",
    filename="cifar10.npz",
    shapes={"X_train": (50000, 3072), "y_train": (50000,), "X_test": (10000, 3072), "y_test": (10000,)},
    digest=None,
    image_shape=(3, 32, 32),
    target_names=(
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    ),
    urls=("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
    download=partial(
        read_cifar10, file_hash="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
    ),
    hint=" For birds, cats and ships cifar10_sub.npz does as well.",
    description="""CIFAR-10: some of its classes
=============================

Colour images of 32 x 32 pixels from 0 to 255, 3,072 features: the red, the green and the blue channel, each
row by row. Of each of the 10 classes 5,000 training and 1,000 test rows, in the original order.

Source: https://www.cs.toronto.edu/~kriz/cifar.html, which states no licence and asks for a citation.

Cite: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report, University of
Toronto, 2009.
""",
)  # fmt: skip

CIFAR10_SUB = Source(
    name="CIFAR-10's birds, cats and ships",
    filename="cifar10_sub.npz",
    shapes={"X_train": (15000, 3072), "y_train": (15000,), "X_test": (2981, 3072), "y_test": (2981,)},
    digest="9551c42417a7ad56b8fb68003664d0faf24ddafa07cb038c22c7e8e2a518ac73",
    image_shape=CIFAR10.image_shape,
    target_names=CIFAR10.target_names,
    description=CIFAR10.description,
)
SUB_CLASSES = {2, 3, 8}
SUB_MISSING = {8: 19}  # test images, by class

COIL20 = Source(
    name="COIL-20",
    filename="coil20.npz",
    shapes={"X": (1440, 1024), "y": (1440,)},
    digest="ff879aad447a66724b0f9a7a664d01f1a2a68bdd23923f373c06678251a19299",
    image_shape=(1, 32, 32),
    target_names=tuple(f"object {i}" for i in range(1, 21)),
    urls=(
        "https://cave.cs.columbia.edu/old/databases/SLAM_coil-20_coil-100/coil-20/coil-20-proc.zip",
        "https://www.cs.columbia.edu/CAVE/databases/SLAM_coil-20_coil-100/coil-20/coil-20-proc.zip",
    ),
    download=read_coil20,
    description="""COIL-20: objects on a turntable
===============================

1,440 grey images of 32 x 32 pixels from 0 to 255, 1,024 features: 20 objects, labelled 1 to 20, in 72 views
each, 5 degrees apart, sorted by object and view. There is no split.

Source: the processed images of the Columbia Object Image Library
(https://cave.cs.columbia.edu/repository/COIL-20), 128 x 128 pixels, of which every fourth pixel of every
fourth row is kept, from the third on. Another 32 x 32 version in use, COIL20.mat of D. Cai, has means of
4 x 4 pixels instead. The report states no licence; the images are made available for research purposes.

Cite: S. A. Nene, S. K. Nayar, H. Murase, "Columbia Object Image Library (COIL-20)", technical report
CUCS-005-96, Columbia University, 1996.
""",
)
