"""Carries the state of an Adadelta optimizer between Adadelta.Native and PyTorch.

    from torch_state import load, save

    load(optimizer, "optimizer.safetensors")    # a file of OptimizerFile.Save, or a checkpoint, into torch.optim.Adadelta
    save(optimizer, "optimizer.safetensors")    # and back, for OptimizerFile.Load

Needs the packages torch and safetensors. A checkpoint's weights have PyTorch's names and go into a module by
module.load_state_dict(weights("checkpoint.safetensors")).
"""

import json

import torch
from safetensors import safe_open
from safetensors.torch import save_file

STATE = ("step", "square_avg", "acc_delta")
# What torch.optim.Adadelta knows of a group; the rest of the file's options are Adadelta.Native's own.
OPTIONS = ("lr", "rho", "eps", "weight_decay", "foreach", "maximize", "capturable", "differentiable")


def weights(path):
    """The parameters of a checkpoint, by name."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys() if not name.startswith(("optimizer.", "training."))}


def load(optimizer, path):
    """Sets the state and the options of a torch.optim.Adadelta whose parameters are the file's, in its order."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        if metadata.get("optimizer.version") != "1":
            raise ValueError(f"{path}: optimizer.version is {metadata.get('optimizer.version')}, expected 1")
        groups = json.loads(metadata["optimizer.param_groups"])
        names = set(file.keys())
        state = {}
        for index in (i for group in groups for i in group["params"]):
            keys = {what: f"optimizer.state.{index}.{what}" for what in STATE}
            if keys["step"] in names:
                state[index] = {what: file.get_tensor(key) for what, key in keys.items()}
    # PyTorch gives a key that the file of an older version has not its default.
    groups = [{key: group[key] for key in (*OPTIONS, "params") if key in group} for group in groups]
    # The state takes the parameter's own type: of 16-bit parameters it is rounded from float32.
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def save(optimizer, path):
    """Writes the state and the options of a torch.optim.Adadelta."""
    state_dict = optimizer.state_dict()
    tensors = {}
    for index, state in state_dict["state"].items():
        for what in STATE:
            value = torch.as_tensor(state[what]).detach().cpu().contiguous()
            tensors[f"optimizer.state.{index}.{what}"] = value.to(torch.float32) if what == "step" else value
    groups = [
        {key: group[key] for key in (*OPTIONS, "params") if key in group} | {"lr": float(group["lr"])}
        for group in state_dict["param_groups"]
    ]
    metadata = {"format": "pt", "optimizer.version": "1", "optimizer.param_groups": json.dumps(groups)}
    save_file(tensors, path, metadata)
