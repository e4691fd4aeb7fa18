#!/usr/bin/python3
"""Write down every POST to port 8081: its path and what it says, a line each."""

import http.server
import json
import sys


class Listener(http.server.BaseHTTPRequestHandler):
    """What answers a request."""

    def do_POST(self):
        """Write it down."""
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open(sys.argv[1], "a") as file:
            row = {"path": self.path, "subject": said["title"], "message": said["message"]}
            file.write(json.dumps(row) + "\n")
        self.send_response(200)
        self.end_headers()


http.server.ThreadingHTTPServer(("", 8081), Listener).serve_forever()
