// A program that uses the session bus, prints what came of it, and closes nothing: it has to end by itself.
import process from "node:process";
import { BUS_DAEMON } from "../../lib/dbus/bus.ts";
import { openSessionBus } from "../../lib/dbus/open.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { ECHO } from "./echo_peer.ts";

const bus = await openSessionBus();
const outcome = await use(process.argv[2] ?? "");
process.stdout.write(`${outcome}\n`);

async function use(how: string): Promise<string> {
  try {
    switch (how) {
      case "subscription":
        await bus.subscribe({ interface: ECHO.interface }, () => {});
        return "subscribed";
      case "time limit":
        await bus.call({ ...ECHO, member: "Hang" }, { timeoutMs: 30 });
        return "answered";
      case "abort at once": {
        const controller = new AbortController();
        const call = bus.call({ ...BUS_DAEMON, member: "GetId" }, { signal: controller.signal });
        controller.abort("aborted");
        await call;
        return "answered";
      }
      default:
        await bus.call({ ...ECHO, member: "Echo" });
        return "answered";
    }
  } catch (error) {
    return error instanceof LatchkeyError ? error.code : String(error);
  }
}
