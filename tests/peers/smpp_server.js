// An SMSC on the npm package smpp. The last two digits of the number choose what happens to a message.
const smpp = require("smpp");

const say = (said) => process.stdout.write(JSON.stringify(said) + "\n");
const fail = { "08": smpp.ESME_RSYSERR, 11: smpp.ESME_RINVDSTADR, 88: smpp.ESME_RTHROTTLED };
const receivers = [];
let count = 0;

function receipt(id, from, to, state) {
  const text = `id:${id} sub:001 dlvrd:001 submit date:2601020304 done date:2601020305 stat:${state} err:000 text:`;
  const taker = receivers[count % receivers.length];
  taker.deliver_sm(
    { source_addr: from, destination_addr: to, esm_class: 4, short_message: text,
      receipted_message_id: id, message_state: state === "DELIVRD" ? 2 : 5 },
    (answer) => say({ event: "receipt_taken", id, status: answer.command_status }),
  );
}

const server = smpp.createServer({}, (session) => {
  session.on("error", () => {});
  session.on("bind_transceiver", (pdu) => {
    const good = pdu.system_id === "clarion" && pdu.password === "secret";
    say({ event: "bind", system_id: pdu.system_id, version: pdu.interface_version, good });
    session.send(pdu.response({ command_status: good ? 0 : smpp.ESME_RINVPASWD, system_id: "smsc" }));
    if (good) receivers.push(session);
    else session.close();
  });
  session.on("enquire_link", (pdu) => {
    say({ event: "enquire_link" });
    session.send(pdu.response());
  });
  session.on("unbind", (pdu) => {
    say({ event: "unbind" });
    receivers.splice(receivers.indexOf(session), 1);
    session.send(pdu.response());
    session.close();
  });
  session.on("deliver_sm_resp", () => {});
  session.on("submit_sm", (pdu) => {
    const end = pdu.destination_addr.slice(-2);
    const { message, udh } = pdu.short_message;
    say({ event: "submit", to: pdu.destination_addr, from: pdu.source_addr, ton: pdu.source_addr_ton,
          text: message, udh: udh ? Buffer.concat(udh.map((part) => Buffer.from(part))).toString("hex") : "",
          coding: pdu.data_coding, esm: pdu.esm_class, validity: String(pdu.validity_period),
          registered: pdu.registered_delivery });
    if (fail[end]) {
      session.send(pdu.response({ command_status: fail[end] }));
      return;
    }
    count += 1;
    const id = count.toString(16).padStart(8, "0");
    if (end === "91") receipt(id, pdu.destination_addr, pdu.source_addr, "DELIVRD");
    session.send(pdu.response({ message_id: id }));
    if (end === "50") receipt(id, pdu.destination_addr, pdu.source_addr, "UNDELIV");
    else if (end !== "91") receipt(id, pdu.destination_addr, pdu.source_addr, "DELIVRD");
  });
});
server.listen(0, "127.0.0.1", () => say({ port: server.address().port }));
