// APNs and FCM on Node's http2 (nghttp2). Arguments: certificate, key, ES256 public key, RS256 public key (PEM files),
// MAX_CONCURRENT_STREAMS at the start. The device token chooses what happens: its first letters are a key of `acts`.
const crypto = require("crypto");
const fs = require("fs");
const http2 = require("http2");

const [certificate, key, es256File, rs256File, firstStreams] = process.argv.slice(2);
const es256 = fs.readFileSync(es256File);
const rs256 = fs.readFileSync(rs256File);
const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_REFUSED_STREAM } = http2.constants;
const STREAMS = 100;

const say = (said) => process.stdout.write(JSON.stringify(said) + "\n");
const decoded = (part) => JSON.parse(Buffer.from(part, "base64url"));

function claims(jwt, algorithm, publicKey) {
  const [header, payload, signature] = (jwt || "").split(".");
  if (!signature || decoded(header).alg !== algorithm) return null;
  const good = crypto.verify(
    "sha256",
    Buffer.from(`${header}.${payload}`),
    { key: publicKey, dsaEncoding: "ieee-p1363" },
    Buffer.from(signature, "base64url"),
  );
  return good ? decoded(payload) : null;
}

const apnsError = (stream, status, reason, more) =>
  answer(stream, { ":status": status }, JSON.stringify({ reason, ...more }));

function answer(stream, headers, body) {
  if (stream.destroyed) return;
  stream.respond(headers, { endStream: !body });
  if (body) stream.end(body);
}

// What a request ends with instead of success; gives true when the stream is dealt with.
const acts = {
  c410: (stream) => apnsError(stream, 410, "Unregistered", { timestamp: 1700000000000 }),
  c503: (stream) => apnsError(stream, 503, "ServiceUnavailable"),
  ca11: (stream) => stream.close(NGHTTP2_CANCEL),
  cfed: (stream) => stream.close(NGHTTP2_REFUSED_STREAM),
  cbad: (stream) => stream.close(NGHTTP2_INTERNAL_ERROR),
  cd1e: (stream) => stream.session.destroy(),
  cb1e: (stream) => {
    // Says goodbye, then answers what is open, this request included.
    stream.session.goaway(0, stream.id, Buffer.from('{"reason":"Shutdown"}'));
    return false;
  },
};

let messages = 0;

function apns(stream, headers, body) {
  const token = headers[":path"].slice("/3/device/".length);
  const provider = claims((headers.authorization || "").replace(/^bearer /, ""), "ES256", es256);
  if (!provider || !provider.iss || !provider.iat) return apnsError(stream, 403, "InvalidProviderToken");
  if (firstStreams && stream.session.localSettings.maxConcurrentStreams !== STREAMS) {
    stream.session.settings({ maxConcurrentStreams: STREAMS });
  }
  const act = acts[token.slice(0, 4)];
  say({ event: "apns", token, id: headers["apns-id"], topic: headers["apns-topic"], type: headers["apns-push-type"],
        priority: headers["apns-priority"], payload: JSON.parse(body), authority: headers[":authority"] });
  if (act && act(stream) !== false) return undefined;
  return answer(stream, { ":status": 200, "apns-id": headers["apns-id"] });
}

function token(stream, body) {
  const assertion = new URLSearchParams(body.toString()).get("assertion");
  const account = claims(assertion, "RS256", rs256);
  if (!account || account.exp - account.iat > 3600 || !account.scope.endsWith("/auth/firebase.messaging")) {
    return answer(stream, { ":status": 400 }, JSON.stringify({ error: "invalid_grant" }));
  }
  const granted = { access_token: "granted", expires_in: 3600, token_type: "Bearer" };
  return answer(stream, { ":status": 200, "content-type": "application/json" }, JSON.stringify(granted));
}

function fcm(stream, headers, body) {
  if (headers.authorization !== "Bearer granted") {
    return answer(stream, { ":status": 401 }, JSON.stringify({ error: { status: "UNAUTHENTICATED" } }));
  }
  const { message } = JSON.parse(body);
  say({ event: "fcm", message });
  const act = acts[message.token.slice(0, 4)];
  if (act && act(stream) !== false) return undefined;
  messages += 1;
  return answer(stream, { ":status": 200 }, JSON.stringify({ name: `projects/demo/messages/${messages}` }));
}

const server = http2.createSecureServer({
  cert: fs.readFileSync(certificate),
  key: fs.readFileSync(key),
  settings: { maxConcurrentStreams: Number(firstStreams) || STREAMS },
});
server.on("session", (session) => {
  say({ event: "session" });
  session.on("error", () => {});
  session.on("close", () => say({ event: "closed" }));
});
server.on("stream", (stream, headers) => {
  const parts = [];
  stream.on("error", () => {});
  stream.on("data", (part) => parts.push(part));
  stream.on("end", () => {
    const body = Buffer.concat(parts);
    const path = headers[":path"];
    if (path === "/token") token(stream, body);
    else if (path.startsWith("/3/device/")) apns(stream, headers, body);
    else fcm(stream, headers, body);
  });
});
server.listen(0, "127.0.0.1", () => say({ port: server.address().port }));
