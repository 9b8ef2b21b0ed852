// A peer on a private bus, for what the bus' own daemon cannot play.
import { Message, type MessageBus, MessageType, sessionBus } from "dbus-next";
import type { Socket } from "node:net";
import { encodeMessage, METHOD_RETURN } from "../../lib/dbus/marshal.ts";

/** Bus name of the peer. */
export const ECHO_NAME = "com.example.Echo";
/** Its object and interface, to be completed with a member. */
export const ECHO = { destination: ECHO_NAME, path: "/com/example/Echo", interface: "com.example.Echo1" };

/**
 * Starts the peer. `Echo` answers what it was given, `Fail` with an error, `Hang` never, `Describe` with how the arguments
 * look to the peer, `Descriptor` with a file descriptor that is not there; `Emit` sends a signal of the name in its first
 * argument, with the others, and `EmitToCaller` to its caller past all match rules; `CallBack` answers with the name of the
 * error that its caller answers a call with.
 */
export async function startEchoPeer(busAddress: string): Promise<{ stop(): void }> {
  const bus = sessionBus({ busAddress });
  bus.addMethodHandler((message) => answer(bus, message));
  await bus.requestName(ECHO_NAME, 0);
  return { stop: () => bus.disconnect() };
}

function answer(bus: MessageBus, message: Message): boolean {
  if (message.interface !== ECHO.interface) return false;
  const reply = (signature: string, body: unknown[]) => bus.send(Message.newMethodReturn(message, signature, body));
  switch (message.member) {
    case "Echo":
      reply(message.signature, message.body);
      return true;
    case "Fail":
      bus.send(Message.newError(message, String(message.body[0]), String(message.body[1])));
      return true;
    case "Emit":
      bus.send(
        Message.newSignal(
          ECHO.path,
          ECHO.interface,
          String(message.body[0]),
          message.signature.slice(1),
          message.body.slice(1),
        ),
      );
      reply("", []);
      return true;
    case "EmitToCaller":
      bus.send(
        new Message({
          ...{ type: MessageType.SIGNAL, destination: message.sender, path: ECHO.path, interface: ECHO.interface },
          member: String(message.body[0]),
        }),
      );
      reply("", []);
      return true;
    case "CallBack":
      bus.call(new Message({ ...ECHO, destination: message.sender, member: "Any" }))
        .catch((error) => reply("s", [error.type]));
      return true;
    case "Descriptor":
      replyWithDescriptor(bus, message);
      return true;
    case "Describe":
      reply("ss", [message.signature, describe(message.body)]);
      return true;
    case "Hang":
      return true;
    default:
      return false;
  }
}

/** Past `dbus-next`, which would need a descriptor. */
function replyWithDescriptor(bus: MessageBus, { sender, serial }: Message): void {
  const reply = { type: METHOD_RETURN, serial: bus.newSerial(), destination: sender, replySerial: serial! };
  const bytes = encodeMessage({ ...reply, signature: "u", body: [0] });
  const signature = new TextDecoder("latin1").decode(bytes).lastIndexOf("\x01u\0");
  bytes[signature + 1] = "h".charCodeAt(0);
  const { stream } = (bus as unknown as { _connection: { stream: Socket } })._connection;
  stream.write(bytes);
}

function describe(body: unknown): string {
  return JSON.stringify(body, (_, value) => typeof value === "bigint" ? `${value}n` : value);
}
