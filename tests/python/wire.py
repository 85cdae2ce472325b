"""The websocket's messages as the public clients write them: msgpack, with arrays of numpy."""
import msgpack
import numpy


def pack(document):
    return msgpack.packb(document, default=lambda array: {
        b"__ndarray__": True, b"data": array.tobytes(), b"dtype": array.dtype.str, b"shape": array.shape})


def unpack(message):
    def hook(document):
        if b"__ndarray__" not in document:
            return document
        return numpy.frombuffer(document[b"data"], numpy.dtype(document[b"dtype"])).reshape(document[b"shape"])
    return msgpack.unpackb(message, object_hook=hook)


def request(observation, **more):
    """An observation as openpi's clients name it."""
    images = {f"observation/{camera}": image for camera, image in observation["images"].items()}
    return pack({**images, "observation/state": numpy.array(observation["state"], numpy.float32),
                 "prompt": observation["prompt"], **more})
