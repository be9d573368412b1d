// A part of cuDNN, which is opened and does nothing.
