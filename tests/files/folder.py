"""A folder with files, and beside it what nobody may get."""

import os
import random
import time

SECRET = "this is not for you"
AGE = 3600  # so old that its tag is a strong one


class Folder:
    def __init__(self, directory):
        self.outside = directory
        self.path = directory / "www"
        self.path.mkdir()
        (directory / "secret").write_text(SECRET)
        (directory / "www-other").mkdir()
        (directory / "www-other" / "secret").write_text(SECRET)

    def write(self, name, content=b"", age=AGE):
        """Puts a file into place at once."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.new")
        fresh.write_bytes(content.encode() if isinstance(content, str) else content)
        then = time.time() - age
        os.utime(fresh, (then, then))
        os.replace(fresh, file)
        return file

    def random(self, name, size):
        content = random.Random(size).randbytes(size)
        self.write(name, content)
        return content


def held(pid, path):
    """How many files a process holds open at a path or below it."""
    found = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        found += target.startswith(str(path))
    return found
