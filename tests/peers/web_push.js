// The push service of the npm package web-push-testing behind TLS: our client speaks https only, the package http.
// Arguments: certificate and key (PEM files).
const fs = require("fs");
const https = require("https");
const { PushApiModel } = require("web-push-testing/src/PushApiModel.js");
const WebPushTestingServer = require("web-push-testing/src/server.js");

const [certificate, key] = process.argv.slice(2);
const model = new PushApiModel();
const service = new WebPushTestingServer(model, 0);
service.setRequestHandlers();
const server = https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) }, service._app);
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address();
  model.notifyUrl = `https://localhost:${port}/notify/`;
  process.stdout.write(JSON.stringify({ port }) + "\n");
});
