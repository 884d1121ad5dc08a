"""The messages of Caffe's files, as a table, and protobuf's classes made of it.

Caffe describes networks and keeps weights in protocol buffers. The table below holds what such files consist of: for
each message its fields, a field as `NUMBER name kind default`. A kind is a protobuf scalar, or a message or an
enumeration of the table; `[]` behind it is a repeated field, `[packed]` one whose numbers stand together on disk.

Source: Caffe, src/caffe/proto/caffe.proto: field numbers, types and defaults.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from chainrule.core.errors import missing_extra

# Enumerations that two messages have under one name with other numbers bear the message's name here in front.
ENUMS: dict[str, str] = {
    "Phase": "TRAIN 0, TEST 1",
    "Engine": "DEFAULT 0, CAFFE 1, CUDNN 2",
    "Share": "STRICT 0, PERMISSIVE 1",
    "Variance": "FAN_IN 0, FAN_OUT 1, AVERAGE 2",
    "Normalization": "FULL 0, VALID 1, BATCH_SIZE 2, NONE 3",
    "Database": "LEVELDB 0, LMDB 1",
    "Eltwise": "PROD 0, SUM 1, MAX 2",
    "Norm": "L1 1, L2 2",
    "Region": "ACROSS_CHANNELS 0, WITHIN_CHANNEL 1",
    "Pool": "MAX 0, AVE 1, STOCHASTIC 2",
    "Rounding": "CEIL 0, FLOOR 1",
    "Reduction": "SUM 1, ASUM 2, SUMSQ 3, MEAN 4",
    "SnapshotFormat": "HDF5 0, BINARYPROTO 1",
    "SolverMode": "CPU 0, GPU 1",
    "SolverType": "SGD 0, NESTEROV 1, ADAGRAD 2, RMSPROP 3, ADADELTA 4, ADAM 5",
    "OldLayer": (
        "NONE 0, ACCURACY 1, BNLL 2, CONCAT 3, CONVOLUTION 4, DATA 5, DROPOUT 6, EUCLIDEAN_LOSS 7, FLATTEN 8, HDF5_DATA 9,"
        "HDF5_OUTPUT 10, IM2COL 11, IMAGE_DATA 12, INFOGAIN_LOSS 13, INNER_PRODUCT 14, LRN 15,"
        "MULTINOMIAL_LOGISTIC_LOSS 16, POOLING 17, RELU 18, SIGMOID 19, SOFTMAX 20, SOFTMAX_LOSS 21, SPLIT 22, TANH 23,"
        "WINDOW_DATA 24, ELTWISE 25, POWER 26, SIGMOID_CROSS_ENTROPY_LOSS 27, HINGE_LOSS 28, MEMORY_DATA 29, ARGMAX 30,"
        "THRESHOLD 31, DUMMY_DATA 32, SLICE 33, MVN 34, ABSVAL 35, SILENCE 36, CONTRASTIVE_LOSS 37, EXP 38,"
        "DECONVOLUTION 39"
    ),
}

# What a layer's own settings are called, the field's number in the layer, and in the layer of before 2014 (0: it had none).
SETTINGS: dict[str, tuple[str, int, int]] = {
    "transform_param": ("Transformation", 100, 36),
    "loss_param": ("Loss", 101, 42),
    "accuracy_param": ("Accuracy", 102, 27),
    "argmax_param": ("ArgMax", 103, 23),
    "concat_param": ("Concat", 104, 9),
    "contrastive_loss_param": ("ContrastiveLoss", 105, 40),
    "convolution_param": ("Convolution", 106, 10),
    "data_param": ("Data", 107, 11),
    "dropout_param": ("Dropout", 108, 12),
    "dummy_data_param": ("DummyData", 109, 26),
    "eltwise_param": ("EltwiseSettings", 110, 24),
    "exp_param": ("Exp", 111, 41),
    "hdf5_data_param": ("HDF5Data", 112, 13),
    "hdf5_output_param": ("HDF5Output", 113, 14),
    "hinge_loss_param": ("HingeLoss", 114, 29),
    "image_data_param": ("ImageData", 115, 15),
    "infogain_loss_param": ("InfogainLoss", 116, 16),
    "inner_product_param": ("InnerProduct", 117, 17),
    "lrn_param": ("LRN", 118, 18),
    "memory_data_param": ("MemoryData", 119, 22),
    "mvn_param": ("MVN", 120, 34),
    "pooling_param": ("Pooling", 121, 19),
    "power_param": ("Power", 122, 21),
    "relu_param": ("ReLU", 123, 30),
    "sigmoid_param": ("Sigmoid", 124, 38),
    "softmax_param": ("Softmax", 125, 39),
    "slice_param": ("Slice", 126, 31),
    "tanh_param": ("TanH", 127, 37),
    "threshold_param": ("Threshold", 128, 25),
    "window_data_param": ("WindowData", 129, 20),
    "python_param": ("Python", 130, 0),
    "prelu_param": ("PReLU", 131, 0),
    "spp_param": ("SPP", 132, 0),
    "reshape_param": ("Reshape", 133, 0),
    "log_param": ("Log", 134, 0),
    "flatten_param": ("Flatten", 135, 0),
    "reduction_param": ("ReductionSettings", 136, 0),
    "embed_param": ("Embed", 137, 0),
    "tile_param": ("Tile", 138, 0),
    "batch_norm_param": ("BatchNorm", 139, 0),
    "elu_param": ("ELU", 140, 0),
    "bias_param": ("Bias", 141, 0),
    "scale_param": ("Scale", 142, 0),
    "input_param": ("Input", 143, 0),
    "crop_param": ("Crop", 144, 0),
    "parameter_param": ("Parameter", 145, 0),
    "recurrent_param": ("Recurrent", 146, 0),
    "swish_param": ("Swish", 147, 0),
    "clip_param": ("Clip", 148, 0),
}

_FILLERS = "weight_filler Filler, {} bias_filler Filler"
_OLD_TRANSFORM = "2 scale float 1, 3 mean_file string, 5 crop_size uint32, 6 mirror bool"

MESSAGES: dict[str, str] = {
    # -- numbers and where they come from
    "Shape": "1 dim int64[packed]",
    "Blob": (
        "7 shape Shape, 5 data float[packed], 6 diff float[packed], 8 double_data double[packed],"
        "9 double_diff double[packed], 1 num int32, 2 channels int32, 3 height int32, 4 width int32"
    ),
    "Filler": (
        "1 type string constant, 2 value float, 3 min float, 4 max float 1, 5 mean float, 6 std float 1,"
        "7 sparse int32 -1, 8 variance_norm Variance FAN_IN"
    ),
    # -- the network
    "Net": (
        "1 name string, 3 input string[], 8 input_shape Shape[], 4 input_dim int32[], 5 force_backward bool,"
        "6 state State, 7 debug_info bool, 100 layer Layer[], 2 layers OldLayerSettings[]"
    ),
    "State": "1 phase Phase TEST, 2 level int32, 3 stage string[]",
    "Rule": "1 phase Phase, 2 min_level int32, 3 max_level int32, 4 stage string[], 5 not_stage string[]",
    "Param": "1 name string, 2 share_mode Share, 3 lr_mult float 1, 4 decay_mult float 1",
    "Layer": (
        "1 name string, 2 type string, 3 bottom string[], 4 top string[], 10 phase Phase, 5 loss_weight float[],"
        "6 param Param[], 7 blobs Blob[], 11 propagate_down bool[], 8 include Rule[], 9 exclude Rule[],"
        + ",".join(f"{number} {name} {message}" for name, (message, number, _) in SETTINGS.items())
    ),
    "OldLayerSettings": (
        "2 bottom string[], 3 top string[], 4 name string, 32 include Rule[], 33 exclude Rule[], 5 type OldLayer,"
        "6 blobs Blob[], 1001 param string[], 1002 blob_share_mode Share[], 7 blobs_lr float[], 8 weight_decay float[],"
        "35 loss_weight float[],"
        + ",".join(f"{number} {name} {message}" for name, (message, _, number) in SETTINGS.items() if number)
    ),
    # -- data
    "Transformation": (
        "1 scale float 1, 2 mirror bool, 3 crop_size uint32, 4 mean_file string, 5 mean_value float[],"
        "6 force_color bool, 7 force_gray bool"
    ),
    "Data": (
        f"{_OLD_TRANSFORM}, 1 source string, 4 batch_size uint32, 7 rand_skip uint32, 8 backend Database LEVELDB,"
        "9 force_encoded_color bool, 10 prefetch uint32 4"
    ),
    "ImageData": (
        f"{_OLD_TRANSFORM}, 1 source string, 4 batch_size uint32 1, 7 rand_skip uint32, 8 shuffle bool,"
        "9 new_height uint32, 10 new_width uint32, 11 is_color bool true, 12 root_folder string"
    ),
    "WindowData": (
        f"{_OLD_TRANSFORM}, 1 source string, 4 batch_size uint32, 7 fg_threshold float 0.5, 8 bg_threshold float 0.5,"
        "9 fg_fraction float 0.25, 10 context_pad uint32, 11 crop_mode string warp, 12 cache_images bool, 13 root_folder string"
    ),
    "DummyData": (
        "1 data_filler Filler[], 6 shape Shape[], 2 num uint32[], 3 channels uint32[], 4 height uint32[], 5 width uint32[]"
    ),
    "HDF5Data": "1 source string, 2 batch_size uint32, 3 shuffle bool",
    "HDF5Output": "1 file_name string",
    "Input": "1 shape Shape[]",
    "MemoryData": "1 batch_size uint32, 2 channels uint32, 3 height uint32, 4 width uint32",
    # -- layers with weights
    "Convolution": (
        "1 num_output uint32, 2 bias_term bool true, 3 pad uint32[], 4 kernel_size uint32[], 6 stride uint32[],"
        "18 dilation uint32[], 9 pad_h uint32, 10 pad_w uint32, 11 kernel_h uint32, 12 kernel_w uint32, 13 stride_h uint32,"
        "14 stride_w uint32, 5 group uint32 1, 7 weight_filler Filler, 8 bias_filler Filler, 15 engine Engine DEFAULT,"
        "16 axis int32 1, 17 force_nd_im2col bool"
    ),
    "InnerProduct": (
        f"1 num_output uint32, 2 bias_term bool true, 3 {_FILLERS.format('4')}, 5 axis int32 1, 6 transpose bool"
    ),
    "Embed": f"1 num_output uint32, 2 input_dim uint32, 3 bias_term bool true, 4 {_FILLERS.format('5')}",
    "Recurrent": f"1 num_output uint32, 2 {_FILLERS.format('3')}, 4 debug_info bool, 5 expose_hidden bool",
    "Parameter": "1 shape Shape",
    "PReLU": "1 filler Filler, 2 channel_shared bool",
    "BatchNorm": "1 use_global_stats bool, 2 moving_average_fraction float 0.999, 3 eps float 1e-5",
    "Bias": "1 axis int32 1, 2 num_axes int32 1, 3 filler Filler",
    "Scale": "1 axis int32 1, 2 num_axes int32 1, 3 filler Filler, 4 bias_term bool, 5 bias_filler Filler",
    # -- layers without
    "Pooling": (
        "1 pool Pool MAX, 4 pad uint32, 9 pad_h uint32, 10 pad_w uint32, 2 kernel_size uint32, 5 kernel_h uint32,"
        "6 kernel_w uint32, 3 stride uint32 1, 7 stride_h uint32, 8 stride_w uint32, 11 engine Engine DEFAULT,"
        "12 global_pooling bool, 13 round_mode Rounding CEIL"
    ),
    "LRN": (
        "1 local_size uint32 5, 2 alpha float 1, 3 beta float 0.75, 4 norm_region Region ACROSS_CHANNELS, 5 k float 1,"
        "6 engine Engine DEFAULT"
    ),
    "MVN": "1 normalize_variance bool true, 2 across_channels bool, 3 eps float 1e-9",
    "SPP": "1 pyramid_height uint32, 2 pool Pool MAX, 6 engine Engine DEFAULT",
    "Dropout": "1 dropout_ratio float 0.5",
    "ReLU": "1 negative_slope float, 2 engine Engine DEFAULT",
    "ELU": "1 alpha float 1",
    "Swish": "1 beta float 1",
    "Clip": "1 min float, 2 max float",
    "Sigmoid": "1 engine Engine DEFAULT",
    "TanH": "1 engine Engine DEFAULT",
    "Exp": "1 base float -1, 2 scale float 1, 3 shift float",
    "Log": "1 base float -1, 2 scale float 1, 3 shift float",
    "Power": "1 power float 1, 2 scale float 1, 3 shift float",
    "Threshold": "1 threshold float",
    "EltwiseSettings": "1 operation Eltwise SUM, 2 coeff float[], 3 stable_prod_grad bool true",
    "Concat": "2 axis int32 1, 1 concat_dim uint32 1",
    "Slice": "3 axis int32 1, 2 slice_point uint32[], 1 slice_dim uint32 1",
    "Flatten": "1 axis int32 1, 2 end_axis int32 -1",
    "Reshape": "1 shape Shape, 2 axis int32, 3 num_axes int32 -1",
    "Crop": "1 axis int32 2, 2 offset uint32[]",
    "Tile": "1 axis int32 1, 2 tiles int32",
    "ReductionSettings": "1 operation Reduction SUM, 2 axis int32, 3 coeff float 1",
    "Softmax": "1 engine Engine DEFAULT, 2 axis int32 1",
    "ArgMax": "1 out_max_val bool, 2 top_k uint32 1, 3 axis int32",
    "Python": "1 module string, 2 layer string, 3 param_str string, 4 share_in_parallel bool",
    # -- criteria
    "Loss": "1 ignore_label int32, 3 normalization Normalization VALID, 2 normalize bool",
    "Accuracy": "1 top_k uint32 1, 2 axis int32 1, 3 ignore_label int32",
    "ContrastiveLoss": "1 margin float 1, 2 legacy_version bool",
    "HingeLoss": "1 norm Norm L1",
    "InfogainLoss": "1 source string, 2 axis int32 1",
    # -- the optimisation
    "Solver": (
        "24 net string, 25 net_param Net, 1 train_net string, 2 test_net string[], 21 train_net_param Net,"
        "22 test_net_param Net[], 26 train_state State, 27 test_state State[], 3 test_iter int32[], 4 test_interval int32,"
        "19 test_compute_loss bool, 32 test_initialization bool true, 5 base_lr float, 6 display int32,"
        "33 average_loss int32 1, 7 max_iter int32, 36 iter_size int32 1, 8 lr_policy string, 9 gamma float, 10 power float,"
        "11 momentum float, 12 weight_decay float, 29 regularization_type string L2, 13 stepsize int32,"
        "34 stepvalue int32[], 35 clip_gradients float -1, 14 snapshot int32, 15 snapshot_prefix string, 16 snapshot_diff bool,"
        "37 snapshot_format SnapshotFormat BINARYPROTO, 17 solver_mode SolverMode GPU, 18 device_id int32,"
        "20 random_seed int64 -1, 40 type string SGD, 31 delta float 1e-8, 39 momentum2 float 0.999, 38 rms_decay float 0.99,"
        "23 debug_info bool, 28 snapshot_after_train bool true, 30 solver_type SolverType SGD, 41 layer_wise_reduce bool true,"
        "42 weights string[]"
    ),
}

_FIELD = re.compile(r"(\d+) (\w+) (\w+)(\[\]|\[packed\])?(?: (\S+))?")


def message(name: str) -> Any:
    """The protobuf class of a message of the table.

    Raises:
        UserError: protobuf is not installed.

    >>> filler = message("Filler")(type="xavier")
    >>> filler.std, filler.HasField("std")  # a default, which nobody has set
    (1.0, False)
    """
    return _classes()[name]


@functools.cache
def _classes() -> dict[str, Any]:
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError:
        raise missing_extra("protobuf", "caffe") from None
    file = descriptor_pb2.FileDescriptorProto(name="chainrule/caffe.proto", package="caffe", syntax="proto2")
    for name, values in ENUMS.items():
        # The values of an enumeration lie in the scope around it, so each enumeration gets a message of its own for scope.
        enum = file.message_type.add(name=f"{name}Scope").enum_type.add(name=name)
        for value in values.split(","):
            word, number = value.split()
            enum.value.add(name=word, number=int(number))
    for name, fields in MESSAGES.items():
        described = file.message_type.add(name=name)
        for field in fields.split(","):
            _describe(described.field.add(), field.strip())
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}")) for name in MESSAGES}


def _describe(field: Any, text: str) -> None:
    """Sets a FieldDescriptorProto to what a line of the table says."""
    match = _FIELD.fullmatch(text)
    assert match is not None, text
    number, name, kind, repeated, default = match.groups()
    field.name, field.number = name, int(number)
    field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
    if repeated == "[packed]":
        field.options.packed = True
    if kind in MESSAGES:
        field.type, field.type_name = field.TYPE_MESSAGE, f".caffe.{kind}"
    elif kind in ENUMS:
        field.type, field.type_name = field.TYPE_ENUM, f".caffe.{kind}Scope.{kind}"
    else:
        field.type = field.Type.Value(f"TYPE_{kind.upper()}")
    if default is not None:
        field.default_value = default
