/**
 * Checks of the way to the broker: the D-Bus client, and the session bus.
 *
 * @module
 */
import { LatchkeyError } from "../mod.ts";
import { findLibdbus } from "../lib/platform/find_libdbus.ts";
import { denoNamespace, readEnvironment } from "../lib/platform/host.ts";
import { BUS_DAEMON, DBusError } from "../lib/platform/session_bus.ts";
import { blockedBy, type Check, failed, ok } from "./doctor_check.ts";

/** What a daemon may take that answers by itself, in milliseconds. */
const ANSWER_MS = 2_500;

/** What speaks D-Bus. */
export const dbusClient: Check = {
  id: "dbus_client",
  limitMs: 2_000,
  async run({ bus }) {
    try {
      const { client } = await bus();
      return client === "libdbus" ? ok(`libdbus, ${libdbusPath()}`) : ok(client, adviceForLibdbus());
    } catch (error) {
      if (error instanceof DBusError) return blockedBy(sessionBus.id);
      throw error;
    }
  },
};

/** The session bus, by a question that its daemon answers itself. */
export const sessionBus: Check = {
  id: "session_bus",
  limitMs: 3_000,
  async run({ bus }, { signal }) {
    const begin = performance.now();
    try {
      await (await bus()).call({ ...BUS_DAEMON, member: "GetId" }, { timeoutMs: ANSWER_MS, signal });
    } catch (error) {
      if (error instanceof LatchkeyError && error.code === "timed_out") {
        return failed(error.message, "Log out and in again: the bus hangs");
      }
      if (error instanceof LatchkeyError && error.code === "missing_dependency") return blockedBy(dbusClient.id);
      if (!(error instanceof DBusError)) throw error;
      return failed(
        error.message || error.errorName,
        "Run it in a session that has a bus, and see that DBUS_SESSION_BUS_ADDRESS names it (unix:path=/run/user/UID/bus); " +
          "where there is none at all: dbus-run-session -- COMMAND",
      );
    }
    return ok(`${address()} answered in ${Math.ceil(performance.now() - begin)} ms`);
  },
};

/** The address as the environment has it. */
function address(): string {
  return readEnvironment("DBUS_SESSION_BUS_ADDRESS") ?? `unix:path=${readEnvironment("XDG_RUNTIME_DIR")}/bus`;
}

/** Deno takes dbus-next where it has to, though libdbus starts in half the time. */
function adviceForLibdbus(): string | undefined {
  try {
    if (denoNamespace()) libdbusPath();
  } catch (error) {
    if (error instanceof LatchkeyError) return `For a quicker start: ${error.hint}`;
  }
  return undefined;
}

function libdbusPath(): string {
  const deno = denoNamespace()!;
  return findLibdbus(deno, (path) => {
    deno.dlopen(path, {}).close();
    return path;
  });
}
