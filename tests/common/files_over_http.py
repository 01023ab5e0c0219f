"""A small file server that misbehaves as told."""

import contextlib
import http.server
import re
import threading


@contextlib.contextmanager
def serve(content, answers=(), headers=(), if_range=True):
    """Serves `content`, and `answers` before it.

    Args:
      content: bytes of the file.
      answers: what the first requests meet: a status, "cut" for half of what was
        asked for, "first" for the first byte on though the rest was asked for, or
        the bytes of another version, of which half is sent.
      headers: further ones of good answers.
      if_range: False for a server that sends the rest of whatever it has now.

    Yields:
      The address, and a list that gets the headers of every request.
    """
    plan, seen = list(answers), []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(dict(self.headers))
            answer = plan.pop(0) if plan else None
            if isinstance(answer, int):
                self.send_error(answer)
                return
            body = answer if isinstance(answer, bytes) else content
            etag = f'"{hash(body)}"'
            start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            same = not if_range or self.headers.get("If-Range") == etag
            part = start is not None and same
            first = int(start[1]) if part and answer != "first" else 0
            self.send_response(206 if part else 200)
            self.send_header("Content-Length", str(len(body) - first))
            self.send_header("ETag", etag)
            if part:
                place = f"bytes {first}-{len(body) - 1}/{len(body)}"
                self.send_header("Content-Range", place)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            end = first + (len(body) - first) // 2
            whole = answer in (None, "first")
            self.wfile.write(body[first:] if whole else body[first:end])

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/w.npz", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
