"""What the tests of parquet files share: the features that data sets of the Hub declare."""

IMAGE = {"_type": "Image"}


def class_label(*names):
    return {"_type": "ClassLabel", "names": list(names)}


ANT_OR_BEE = {"img": IMAGE, "label": class_label("ant", "bee")}
