/**
 * The Linux broker, `microsoft-identity-broker` or himmelblau, on the session bus.
 *
 * @module
 */
import { noteWait } from "../async.ts";
import { NATIVE_CLIENT_URI } from "../redirect_uris.ts";
import {
  BUS_DAEMON,
  BUS_ERROR,
  DBusError,
  type DBusValue,
  type SessionBus,
  type Signal,
  undefinedIfNoOwner,
} from "../dbus/bus.ts";
import { openSessionBus } from "../dbus/open.ts";
import { escapeControlCharacters } from "../control_characters.ts";
import { LatchkeyError } from "../errors.ts";
import { advice, type Remedy } from "../remedies.ts";
import type { Broker } from "./broker.ts";
import type { BrokerTimeLimits } from "./time_limits.ts";
import { jsonBroker, type JsonBrokerOptions, type JsonTransport } from "./client.ts";

const NAME = "com.microsoft.identity.broker1";
const OBJECT = { destination: NAME, path: "/com/microsoft/identity/broker1" };
const INTERFACE = "com.microsoft.identity.Broker1";
const PING = { ...OBJECT, interface: "org.freedesktop.DBus.Peer", member: "Ping" };
const PROTOCOL_VERSION = "0.0";

/** Errors of a broker that does not run any more, or cannot be reached. */
const GONE: ReadonlySet<string> = new Set([
  ...["NoReply", "Disconnected", "ServiceUnknown", "NameHasNoOwner", "NoServer", "FileNotFound", "TimedOut", "Timeout"],
  ...["NoNetwork", "LimitsExceeded"],
]);
/** Errors of a broker that lacks a method. */
const UNKNOWN: ReadonlySet<string> = new Set(["UnknownMethod", "UnknownInterface", "UnknownObject"]);
/** Methods that himmelblau does not implement; its first releases do not know them. */
const OPTIONAL_METHODS: readonly string[] = ["removeAccount", "generateSignedHttpRequest", "cancelInteractiveFlow"];

/** Errors of a bus that lets in only its own user: some refuse others at once, some end the connection. */
const REFUSED_USER: ReadonlySet<string> = new Set(["AuthFailed", "Disconnected"].map((name) => BUS_ERROR + name));

const RESTART = "Restart it: systemctl --user restart microsoft-identity-broker (himmelblau: himmelblau-broker)";
/** himmelblau forwards one call at a time: a silent one waits behind the prompt of any program. */
const ANSWER_PROMPT = "If the broker shows a prompt, for whichever program, answer or close it: others wait behind it";

export async function startLinuxBroker(options: JsonBrokerOptions, signal?: AbortSignal): Promise<Broker> {
  const bus = await openBrokerBus();
  await pingBroker(bus, options.timeLimits, signal).catch((error) => {
    bus.close();
    throw error;
  });
  return jsonBroker(linuxTransport(bus, options.timeLimits), options);
}

/** Opens the session bus. A missing bus becomes `broker_unavailable`; the error of an unusable D-Bus client is unchanged. */
export async function openBrokerBus(): Promise<SessionBus> {
  return await openSessionBus().catch(throwUnavailable);
}

/**
 * Waits for the broker's first reply. A running broker gets less time than one that the bus has to start. The second
 * Ping makes the bus start it.
 */
export async function pingBroker(bus: SessionBus, limits: BrokerTimeLimits, signal?: AbortSignal): Promise<void> {
  const { pingMs, startMs } = limits;
  const wait = noteWait("the device's broker, which starts");
  try {
    const reply = await undefinedIfNoOwner(bus.call({ ...PING, autoStart: false }, { timeoutMs: pingMs, signal }));
    if (!reply) await bus.call(PING, { timeoutMs: startMs, signal });
  } catch (error) {
    await throwUnavailable(error);
  } finally {
    wait[Symbol.dispose]();
  }
}

/** Reports when the broker starts and stops. */
export async function watchBroker(
  bus: SessionBus,
  listener: (change: { readonly running: boolean }) => void,
): Promise<Disposable> {
  const { destination: sender, ...daemon } = BUS_DAEMON;
  const match = { ...daemon, sender, member: "NameOwnerChanged" };
  const report = ({ body: [, , owner] }: Signal) => listener({ running: owner !== "" });
  return await bus.subscribe({ ...match, arg0: NAME }, report).catch(throwUnavailable);
}

async function throwUnavailable(error: unknown): Promise<never> {
  const isDBusError = error instanceof DBusError;
  if (!isDBusError && !(error instanceof LatchkeyError && error.code === "timed_out")) throw error;
  const refusal = isDBusError && REFUSED_USER.has(error.errorName) ? ": a bus refuses all users but its own" : "";
  throw new LatchkeyError("broker_unavailable", `Cannot start the broker: ${reasonOf(error)}${refusal}`, {
    cause: printableCause(error),
    remedy: isDBusError ? await startRemedy(error.errorName) : repair(RESTART),
  });
}

const FIND_BUS =
  "Run this program in a session that has a bus, and check that DBUS_SESSION_BUS_ADDRESS names it (unix:path=/run/user/UID/bus)";
const SERVE = { kind: "serve_elsewhere" } as const;

/** Returns the remedy for a missing bus: where a container or SSH shows, the user's broker is on another device. */
async function noBusRemedy(): Promise<Remedy> {
  const { isRemoteSession, readSessionFacts } = await import("../runtime/browser.ts");
  if (isRemoteSession(await readSessionFacts())) {
    return { ...SERVE, then: { ...advice(FIND_BUS), when: "If the broker is on this machine" } };
  }
  return { ...advice(FIND_BUS), then: { ...SERVE, when: "In a container or over SSH" } };
}

/** Returns the remedy for a start that failed: `repair_broker` if the error is of a broker that is installed. */
async function startRemedy(errorName: string): Promise<Remedy> {
  if (errorName === `${BUS_ERROR}ServiceUnknown`) {
    return advice("Install microsoft-identity-broker and enroll the device (Intune), or himmelblau");
  }
  const reinstall = "Install the broker again: the bus cannot run the program that its service file names";
  if (errorName.endsWith(".Spawn.ServiceNotFound")) return advice(reinstall);
  if (/\.Spawn\.(ExecFailed|FileInvalid|PermissionsInvalid)$/.test(errorName)) return repair(reinstall);
  // A broker that the bus started without a display dies before it answers.
  if (errorName === `${BUS_ERROR}NoReply` || errorName.includes(".Spawn.")) {
    return repair(
      "Give the bus the display and try again: dbus-update-activation-environment --systemd DISPLAY WAYLAND_DISPLAY XAUTHORITY",
    );
  }
  if (REFUSED_USER.has(errorName)) {
    return advice(
      "Run this program as the user of the session, without sudo, if the bus is another user's, as after sudo or su",
    );
  }
  // The broker did not take its name within the bus' own time limit, or returned an error of its own.
  if (errorName === `${BUS_ERROR}TimedOut` || !errorName.startsWith(BUS_ERROR)) return repair(RESTART);
  return await noBusRemedy();
}

function repair(text: string): Remedy {
  return { kind: "repair_broker", text };
}

function reasonOf(error: Error): string {
  if (!(error instanceof DBusError)) return error.message;
  if (error.errorName === `${BUS_ERROR}ServiceUnknown`) return `no service of this session is called ${NAME}`;
  return escapeControlCharacters(error.message) || error.errorName;
}

export function linuxTransport(bus: SessionBus, { startMs }: Pick<BrokerTimeLimits, "startMs">): JsonTransport {
  return {
    kind: "linux",
    async send(method, json, { correlationId, timeoutMs, signal }): Promise<string> {
      if (method === "acquirePrtSsoCookie") {
        return await (await import("./cookie_pause.ts")).callForCookie(json, exchange, { correlationId, signal });
      }
      const reply = await exchange();
      if (method === "acquireTokenInteractively") await (await import("./cookie_pause.ts")).endCookiePause(reply);
      return reply;

      async function exchange(): Promise<string> {
        const body = [PROTOCOL_VERSION, correlationId, json];
        const call = { ...OBJECT, interface: INTERFACE, member: method, signature: "sss", body };
        const limits = { timeoutMs, signal };
        let reply: readonly DBusValue[] | undefined;
        try {
          const replied = bus.call({ ...call, autoStart: false }, limits);
          // A stopped broker has no window to close.
          reply = await (method === "cancelInteractiveFlow" ? replied : undefinedIfNoOwner(replied));
          // A broker that stopped because it was idle gets as much time to start as at first.
          if (!reply) await bus.call(PING, { ...limits, timeoutMs: startMs });
          reply ??= await bus.call(call, limits);
        } catch (error) {
          signal?.throwIfAborted();
          throw await callError(error, method, correlationId);
        }
        if (reply.length === 1 && typeof reply[0] === "string") return reply[0];
        throw new LatchkeyError("invalid_response", `Cannot read the broker's reply: ${method} returned no string`, {
          correlationId,
        });
      }
    },
    redirectUri: () => NATIVE_CLIENT_URI,
    close: () => bus.close(),
  };
}

/** Translates a D-Bus error: the broker went away, is too old, or returned an error of its own. */
async function callError(error: unknown, method: string, correlationId: string): Promise<unknown> {
  if (error instanceof LatchkeyError) {
    const remedy: Remedy | undefined = error.code === "timed_out"
      ? { ...advice(`${ANSWER_PROMPT}. ${RESTART}`), then: { kind: "run_doctor" } }
      : error.remedy;
    return new LatchkeyError(error.code, error.message, { cause: error, correlationId, remedy });
  }
  if (!(error instanceof DBusError)) return error;
  const { errorName } = error;
  const details = { cause: printableCause(error), correlationId };
  const busError = errorName.startsWith(BUS_ERROR) ? errorName.slice(BUS_ERROR.length) : "";
  if (GONE.has(busError) || errorName.includes(".Spawn.")) {
    return new LatchkeyError("broker_unavailable", `The broker went away during ${method}: ${reasonOf(error)}`, {
      ...details,
      remedy: "Try again; if it stays away, see journalctl --user -u microsoft-identity-broker",
    });
  }
  if (UNKNOWN.has(busError)) {
    const isOptional = OPTIONAL_METHODS.includes(method);
    const remedy = isOptional ? (await import("../aadsts.ts")).NOT_IMPLEMENTED : "Update the broker";
    return new LatchkeyError("refused", `The broker does not know ${method}`, { ...details, remedy });
  }
  const errorDescription = `${errorName}: ${escapeControlCharacters(error.message)}`;
  return new LatchkeyError("unexpected", `The broker failed in ${method}: ${errorDescription}`, {
    ...details,
    errorDescription,
  });
}

/** A peer's text must not reach terminals and logs unescaped. */
function printableCause(error: unknown): unknown {
  return error instanceof DBusError ? new DBusError(error.errorName, escapeControlCharacters(error.message)) : error;
}
