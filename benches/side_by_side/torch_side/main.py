"""The PyTorch half of `make bench`: one JSON request per line on stdin, one JSON answer per line on stdout.

`notebook.py` does the job as the notebook writes it, `cached.py` as PyTorch's best users write it. Both need torch and torchvision,
which bring PIL along; without them the first answer says so.
"""

import json
import sys
import traceback

try:
    import PIL
    import torch
    import torchvision
    from cached import cached, cached_again, cached_step
    from notebook import train
    from pieces import classifier_step, decode, features_forward
except ImportError as error:
    print(json.dumps({"error": str(error)}), flush=True)
    sys.exit(0)


def hello(request: dict) -> dict:
    device = request.get("device", "cpu")
    return {
        "versions": f"torch {torch.__version__}, torchvision {torchvision.__version__}, PIL {PIL.__version__}",
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
    }


JOBS = {
    job.__name__: job
    for job in (hello, train, cached, cached_again, cached_step, classifier_step, features_forward, decode)
}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        try:
            torch.set_num_threads(request.get("threads", 1))
            answer = JOBS[request["job"]](request)
        except Exception as error:  # The other half shows it and goes on with the next row.
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
