"""An issuer of tokens: signs them, and shows its keys over HTTP as long as it is not away."""

import http.server
import json
import threading
import time

from jwcrypto import jwk, jwt


class Issuer:
    """Its keys by name; those in `shown` are in the key set. `asked` counts how often it was looked at."""

    def __init__(self):
        self.keys, self.shown, self.asked, self.port = {}, [], 0, 0
        self.server = None

    def __enter__(self):
        self.come()
        return self

    def __exit__(self, *_):
        self.leave()

    def come(self):
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked += 1
                shown = [issuer.keys[name].export_public(as_dict=True) for name in issuer.shown]
                body = json.dumps({"keys": shown}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/keys"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def leave(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def key(self, name, shown=True, **kind):
        kind = kind or {"kty": "EC", "crv": "P-256"}
        self.keys[name] = jwk.JWK.generate(kid=name, **kind)
        if shown:
            self.shown.append(name)

    def token(self, key, algorithm="ES256", header=None, **claims):
        """A good token, but for these claims; one that is None is left out."""
        now = int(time.time())
        usual = {"iss": "https://id.test", "aud": "pylon", "sub": "ann", "iat": now, "exp": now + 300}
        claims = {name: value for name, value in (usual | claims).items() if value is not None}
        token = jwt.JWT(header={"alg": algorithm, "kid": key} | (header or {}), claims=claims)
        token.make_signed_token(self.keys[key])
        return token.serialize()


def bearer(token):
    return {"Authorization": f"Bearer {token}"}
