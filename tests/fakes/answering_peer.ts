// A peer that plays services which no test machine runs: systemd's user manager, KDE's wallet.
import { Message, sessionBus } from "dbus-next";

/** What is answered, by the member's name: the signature, then the arguments. */
export type Answers = Readonly<Record<string, readonly [signature: string, ...body: unknown[]]>>;

/** Starts a peer that has names on the bus. What it has no answer for it refuses. */
export async function startAnsweringPeer(
  busAddress: string,
  names: readonly string[],
  answers: Answers,
): Promise<{ stop(): void }> {
  const bus = sessionBus({ busAddress });
  bus.addMethodHandler((message) => {
    const answer = answers[message.member];
    if (!answer) return false;
    const [signature, ...body] = answer;
    bus.send(Message.newMethodReturn(message, signature, body));
    return true;
  });
  for (const name of names) await bus.requestName(name, 0);
  return {
    stop() {
      (bus as unknown as NodeJS.EventEmitter).on("error", () => {}); // the bus can end before the connection has
      bus.disconnect();
    },
  };
}
