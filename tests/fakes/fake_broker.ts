// A fake that stands in for Microsoft's broker, which no test machine can run. It speaks the wire of tests/wire.
//   bun tests/fakes/fake_broker.ts DIRECTORY     (DIRECTORY: see broker_directory.ts)
import { Message, NameFlag, sessionBus } from "dbus-next";
import { randomUUID } from "node:crypto";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import {
  type Behaviour,
  BROKER_INTERFACE,
  BROKER_NAME,
  BROKER_PATH,
  type BrokerError,
  type Call,
  type Reply,
} from "./behaviour.ts";
import { announceProcess, appendCall, appendReply, countReply, readBehaviour } from "./broker_directory.ts";
import { answerMethod, InteractiveCalls } from "./broker_methods.ts";
import { FakeDirectory } from "./fake_directory.ts";
import { FakeTokens } from "./fake_tokens.ts";
import { checkEnvelope, checkRequest, Refusal } from "./request_rules.ts";
import { fillWire, hasWire, readIntrospection } from "./wire.ts";

const DBUS_ERROR = "org.freedesktop.DBus.Error.";

/** RequestName's answer when the name is ours. */
const PRIMARY_OWNER = 1;
/** Method errors of token requests stand inside the token's response. */
const TOKEN_METHODS = ["acquireTokenSilently", "acquireTokenInteractively"];

const folder = process.argv[2]!;
const state = { directory: new FakeDirectory(), tokens: new FakeTokens(), interactive: new InteractiveCalls() };

// Nothing but the connection keeps the process running, so it ends when the bus does; an `await` here would keep Bun waiting.
const bus = sessionBus();
bus.addMethodHandler((message) => {
  void answer(message);
  return true; // else the library itself would answer Ping and Introspect
});
if (!readBehaviour(folder).noName) void takeName(readBehaviour(folder));

async function takeName({ startDelayMs = 0, takesName = false }: Behaviour): Promise<void> {
  await delay(startDelayMs);
  // Who loses the name does not wait to have it back.
  const flags = NameFlag.ALLOW_REPLACEMENT | NameFlag.DO_NOT_QUEUE | (takesName ? NameFlag.REPLACE_EXISTING : 0);
  const answer = await bus.requestName(BROKER_NAME, flags);
  if (answer !== PRIMARY_OWNER) throw new Error(`${BROKER_NAME} has an owner already`);
  const announcement = announceProcess(folder, process.pid);
  process.on("exit", () => announcement[Symbol.dispose]());
  process.stdout.write("ready\n");
}

async function answer(message: Message): Promise<void> {
  const behaviour = readBehaviour(folder), call = readCall(message);
  appendCall(folder, call);
  const reply = message.path === BROKER_PATH
    ? await answerCall(message, call, behaviour)
    : Message.newError(message, `${DBUS_ERROR}UnknownObject`, `Unknown object '${message.path}'`);
  if (!reply) return;
  appendReply(folder, reply.body);
  bus.send(reply);
}

function readCall(message: Message): Call {
  const { member, sender, signature = "" } = message;
  const [protocolVersion, correlationId, json] = signature === "sss" ? message.body as string[] : [];
  return {
    member,
    interface: message.interface ?? "",
    signature,
    ...(protocolVersion !== undefined && { protocolVersion }),
    ...(correlationId !== undefined && { correlationId }),
    ...(json !== undefined && parsed(json)),
    sender,
  };
}

function parsed(json: string): { request?: unknown } {
  try {
    return { request: JSON.parse(json) };
  } catch {
    return {};
  }
}

/** @returns nothing when the call is never answered */
async function answerCall(message: Message, call: Call, behaviour: Behaviour): Promise<Message | undefined> {
  switch (`${call.interface}.${call.member}`) {
    case "org.freedesktop.DBus.Peer.Ping": {
      const scripted = scriptedReply(behaviour, call);
      if (scripted && scripted.kind !== "delay") return await giveScripted(scripted, message, behaviour);
      return behaviour.noPing ? undefined : Message.newMethodReturn(message);
    }
    case "org.freedesktop.DBus.Introspectable.Introspect": {
      const introspection = readIntrospection(behaviour.sender);
      if (introspection) return Message.newMethodReturn(message, "s", [introspection]);
    }
  }
  const isOurs = [BROKER_INTERFACE, ""].includes(call.interface) && hasWire(behaviour.sender, call.member);
  if (!isOurs) return Message.newError(message, `${DBUS_ERROR}UnknownMethod`, `Unknown method '${call.member}'`);
  if (call.signature !== "sss") {
    return Message.newError(message, `${DBUS_ERROR}InvalidArgs`, `The arguments are '${call.signature}', not 'sss'`);
  }
  try {
    const reply = produceReply(message, call, behaviour);
    const isInteractive = call.member === "acquireTokenInteractively";
    return await (isInteractive ? state.interactive.wait(call.correlationId!, reply) : reply);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return jsonReply(message, errorJson(call.member, error.details, behaviour));
  }
}

async function produceReply(message: Message, call: Call, behaviour: Behaviour): Promise<Message | undefined> {
  const scripted = scriptedReply(behaviour, call);
  if (scripted?.kind === "delay") await delay(scripted.ms);
  else if (scripted) return await giveScripted(scripted, message, behaviour);

  const [protocolVersion, correlationId, json] = message.body as [string, string, string];
  const request = checkEnvelope(protocolVersion, correlationId, json);
  checkRequest(call.member, request, behaviour.sender);
  return jsonReply(message, answerMethod(call, request, { ...state, behaviour }));
}

async function giveScripted(
  reply: Exclude<Reply, { readonly kind: "delay" }>,
  message: Message,
  behaviour: Behaviour,
): Promise<Message | undefined> {
  switch (reply.kind) {
    case "text":
      return Message.newMethodReturn(message, "s", [reply.text.repeat(reply.repeat ?? 1)]);
    case "body":
      return Message.newMethodReturn(message, reply.signature, [...reply.body]);
    case "broker_error":
      return jsonReply(message, errorJson(message.member, reply, behaviour));
    case "dbus_error":
      return Message.newError(message, reply.name, reply.message);
    case "exit":
      return process.exit(1);
    case "drop_name":
      await bus.releaseName(BROKER_NAME);
      return await new Promise(() => {});
    case "hang":
      return await new Promise(() => {});
  }
}

function jsonReply(message: Message, value: unknown): Message {
  return Message.newMethodReturn(message, "s", [JSON.stringify(value)]);
}

function errorJson(member: string, error: BrokerError, { sender }: Behaviour): unknown {
  return fillWire(sender, TOKEN_METHODS.includes(member) ? "error" : "error_at_top", {
    context: error.context ?? contextOf(error),
    errorCode: error.errorCode ?? 0,
    rawErrorCode: error.error ?? error.subError ?? "invalid_grant",
    status: error.status,
    subError: error.subError ?? "",
    subStatus: error.subStatus ?? 0,
    tag: error.tag ?? 508634112,
  });
}

/** The text that 2.5.2 makes of a server's refusal, its slip of the pen included. */
function contextOf({ status, error, subError }: BrokerError): string {
  if (error === undefined && subError === undefined) return `(pii) status ${status}`;
  const code = error ?? "invalid_grant";
  return `Recieved an error from AAD. Code: '${code}' description: '(pii)' correlation id: '${randomUUID()}' suberror: '${
    subError ?? ""
  }'`;
}

/** Takes the reply for a call: the one for its scope if there is one, else the one for its method. */
function scriptedReply(behaviour: Behaviour, call: Call): Reply | undefined {
  const scopes: unknown = call.request?.authParameters?.requestedScopes;
  const keys = [...(Array.isArray(scopes) ? scopes.map((scope) => `${call.member} ${scope}`) : []), call.member];
  for (const key of keys) {
    const reply = behaviour.replies?.[key];
    if (!reply) continue;
    const { after = 0, times = Infinity } = reply;
    const count = after === 0 && times === Infinity ? 1 : countReply(folder, key);
    if (count > after && count <= after + times) return reply;
  }
  return undefined;
}
