// A client made from the protos alone: gets a token, sends, reads back. Arguments: target, CA file, key, secret, proto roots.
const fs = require("fs");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [target, caFile, appKey, appSecret, ...roots] = process.argv.slice(2);
const definition = loader.loadSync(
  ["clarion/auth/v1/auth_service.proto", "clarion/notification/v1/notification_service.proto"],
  { includeDirs: roots, keepCase: true, enums: String, longs: String },
);
const clarion = grpc.loadPackageDefinition(definition).clarion;
const tls = grpc.credentials.createSsl(fs.readFileSync(caFile));

const call = (client, method, request, metadata) =>
  new Promise((resolve, reject) =>
    client[method](request, metadata, { deadline: Date.now() + 10000 }, (error, answer) =>
      error ? reject(error) : resolve(answer)));

async function main() {
  const auth = new clarion.auth.v1.AuthService(target, tls);
  const issued = await call(auth, "IssueToken", { app_key: appKey, app_secret: appSecret }, new grpc.Metadata());
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${issued.token}`);

  const service = new clarion.notification.v1.NotificationService(target, tls);
  const notification = {
    event_id: "from-node-1",
    recipient_ids: ["u1"],
    category: "transactional",
    content: { push: { title: "Hello", body: "from another language" } },
    channel_policy: { channels: ["CHANNEL_ANDROID"] },
  };
  const first = await call(service, "Send", { notification }, metadata);
  const second = await call(service, "Send", { notification }, metadata);
  let refusal = "";
  try {
    await call(service, "Send", { notification: { ...notification, category: "no-such" } }, metadata);
  } catch (error) {
    refusal = `${error.code} ${error.metadata.get("grpc-status-details-bin").length}`;
  }
  let shown;
  for (let tries = 0; tries < 100; tries += 1) {
    shown = await call(service, "Get", { notification_id: first.notification_id }, metadata);
    if (shown.notification.state === "NOTIFICATION_STATE_DONE") break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  console.log(JSON.stringify({
    same: first.notification_id === second.notification_id,
    duplicate: second.duplicate,
    refusal,
    state: shown.notification.state,
    deliveries: shown.deliveries.map((delivery) => delivery.state),
  }));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
