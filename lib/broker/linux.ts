/**
 * The Linux broker, `microsoft-identity-broker` or himmelblau, on the session bus.
 *
 * @module
 */
import { NOT_IMPLEMENTED } from "../aadsts.ts";
import { NATIVE_CLIENT_URI } from "../authority.ts";
import {
  BUS_DAEMON,
  BUS_ERROR,
  type CallLimits,
  DBusError,
  type DBusValue,
  type MethodCall,
  type SessionBus,
} from "../dbus/bus.ts";
import { openSessionBus } from "../dbus/open.ts";
import { escapeControlCharacters } from "../encoding.ts";
import { LatchkeyError } from "../errors.ts";
import type { Broker, TimeLimits } from "./broker.ts";
import { jsonBroker, type JsonBrokerOptions, type JsonTransport } from "./client.ts";

const NAME = "com.microsoft.identity.broker1";
const OBJECT = { destination: NAME, path: "/com/microsoft/identity/broker1" };
const INTERFACE = "com.microsoft.identity.Broker1";
const PING = { ...OBJECT, interface: "org.freedesktop.DBus.Peer", member: "Ping" };
const PROTOCOL_VERSION = "0.0";
const NAME_CHANGES = {
  sender: BUS_DAEMON.destination,
  path: BUS_DAEMON.path,
  interface: BUS_DAEMON.interface,
  member: "NameOwnerChanged",
};

/** What the bus says when nobody answers for the name, now or any more. */
const GONE: ReadonlySet<string> = new Set(
  [
    "NoReply",
    "Disconnected",
    "ServiceUnknown",
    "NameHasNoOwner",
    "NoServer",
    "FileNotFound",
    "TimedOut",
    "Timeout",
    "NoNetwork",
    "LimitsExceeded",
  ]
    .map((name) => BUS_ERROR + name),
);
/** What the bus says of a name without an owner when it may not start a service. */
const NOT_RUNNING: ReadonlySet<string> = new Set(["ServiceUnknown", "NameHasNoOwner"].map((name) => BUS_ERROR + name));
/** What a broker says that lacks a method. */
const UNKNOWN: ReadonlySet<string> = new Set(
  ["UnknownMethod", "UnknownInterface", "UnknownObject"].map((name) => BUS_ERROR + name),
);

/** What no version of himmelblau does: its first releases do not know these methods. */
const OPTIONAL_METHODS: ReadonlySet<string> = new Set([
  ...["removeAccount", "generateSignedHttpRequest", "cancelInteractiveFlow"],
]);

const RESTART = "Restart it: systemctl --user restart microsoft-identity-broker";

/**
 * Starts the broker, or finds it running.
 *
 * @param options What it is asked with.
 * @param signal Gives the start up, with its reason.
 * @returns The broker.
 * @throws {LatchkeyError} `broker_unavailable` when it cannot be started; `missing_dependency`, `configuration` when
 * there is no D-Bus client to reach it by.
 */
export async function startLinuxBroker(options: JsonBrokerOptions, signal?: AbortSignal): Promise<Broker> {
  const bus = await openBrokerBus();
  try {
    await pingBroker(bus, options.timeLimits, signal);
  } catch (error) {
    bus.close();
    throw error;
  }
  return jsonBroker(linuxTransport(bus, options.timeLimits), options);
}

/**
 * Opens the bus that the broker is on.
 *
 * @throws {LatchkeyError} `broker_unavailable` when the session has none; `missing_dependency`, `configuration` when there is no
 * D-Bus client to reach it by.
 */
export async function openBrokerBus(): Promise<SessionBus> {
  try {
    return await openSessionBus();
  } catch (error) {
    throw asUnavailable(error);
  }
}

/**
 * Waits for a sign of life from the broker. One that runs has less time than one that the bus has to start first, which it does
 * for the second Ping.
 *
 * @throws {LatchkeyError} `broker_unavailable` when there is none.
 */
export async function pingBroker(
  bus: SessionBus,
  { pingMs, startMs }: TimeLimits,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await bus.call({ ...PING, autoStart: false }, { timeoutMs: pingMs, signal }).catch((error) => {
      if (!isNotRunning(error)) throw error;
      return bus.call(PING, { timeoutMs: startMs, signal });
    });
  } catch (error) {
    throw asUnavailable(error);
  }
}

function isNotRunning(error: unknown): boolean {
  return error instanceof DBusError && NOT_RUNNING.has(error.errorName);
}

/** What the bus, or its silence, says of a broker that cannot be reached. */
export function asUnavailable(error: unknown): unknown {
  const timedOut = error instanceof LatchkeyError && error.code === "timed_out";
  if (!(error instanceof DBusError) && !timedOut) return error;
  return new LatchkeyError("broker_unavailable", `Cannot start the broker: ${reasonOf(error)}`, {
    cause: printableCause(error),
    hint: error instanceof DBusError ? hintFor(error.errorName) : RESTART,
  });
}

function hintFor(errorName: string): string {
  if (errorName === `${BUS_ERROR}ServiceUnknown`) {
    return "Install microsoft-identity-broker and enrol the device (Intune), or himmelblau";
  }
  if (/\.Spawn\.(ExecFailed|FileInvalid|PermissionsInvalid|ServiceNotFound)$/.test(errorName)) {
    return "Install the broker again: the bus cannot run the program that its service file names";
  }
  // A broker that the bus started without a display dies before it answers.
  if (errorName === `${BUS_ERROR}NoReply` || errorName.includes(".Spawn.")) {
    return "Give the bus the display and try again: dbus-update-activation-environment --systemd DISPLAY WAYLAND_DISPLAY XAUTHORITY";
  }
  // It did not take its name in the bus' own time, or said something of its own.
  if (errorName === `${BUS_ERROR}TimedOut` || !errorName.startsWith(BUS_ERROR)) return RESTART;
  return "Run it in a session that has a bus, and see that DBUS_SESSION_BUS_ADDRESS names it (unix:path=/run/user/UID/bus)";
}

function reasonOf(error: Error): string {
  if (!(error instanceof DBusError)) return error.message;
  if (error.errorName === `${BUS_ERROR}ServiceUnknown`) return `no service of this session is called ${NAME}`;
  return escapeControlCharacters(error.message) || error.errorName;
}

/** The way to the broker over the bus. */
export function linuxTransport(bus: SessionBus, { startMs }: Pick<TimeLimits, "startMs">): JsonTransport {
  /** One that stopped, because it was idle, has as long to start as it had at first. */
  async function callStarted(call: MethodCall, limits: CallLimits): Promise<readonly DBusValue[]> {
    try {
      return await bus.call({ ...call, autoStart: false }, limits);
    } catch (error) {
      // A broker that does not run has no window to close.
      if (!isNotRunning(error) || call.member === "cancelInteractiveFlow") throw error;
    }
    await bus.call(PING, { ...limits, timeoutMs: startMs });
    return await bus.call(call, limits);
  }

  return {
    kind: "linux",
    async send(method, json, { correlationId, timeoutMs, signal }): Promise<string> {
      const call = {
        ...OBJECT,
        interface: INTERFACE,
        member: method,
        signature: "sss",
        body: [PROTOCOL_VERSION, correlationId, json],
      };
      let reply;
      try {
        reply = await callStarted(call, { timeoutMs, signal });
      } catch (error) {
        signal?.throwIfAborted();
        throw ofCall(error, method, correlationId);
      }
      if (reply.length === 1 && typeof reply[0] === "string") return reply[0];
      throw new LatchkeyError("invalid_response", `Cannot read the broker's reply: ${method} returned no string`, {
        correlationId,
      });
    },
    redirectUri: () => NATIVE_CLIENT_URI,
    watch: (listener) =>
      bus.subscribe({ ...NAME_CHANGES, arg0: NAME }, ({ body: [, , owner] }) => listener({ running: owner !== "" })),
    close: () => bus.close(),
  };
}

/** A D-Bus error in place of a reply: the broker went away, is too old, or said something of its own. */
function ofCall(error: unknown, method: string, correlationId: string): unknown {
  if (error instanceof LatchkeyError) {
    const hint = error.code === "timed_out" ? `${RESTART}; latchkey doctor looks for the cause` : error.hint;
    return new LatchkeyError(error.code, error.message, { cause: error, correlationId, hint });
  }
  if (!(error instanceof DBusError)) return error;
  const { errorName } = error, details = { cause: printableCause(error), correlationId };
  if (GONE.has(errorName) || errorName.includes(".Spawn.")) {
    const hint = "Try again; if it stays away, see journalctl --user -u microsoft-identity-broker";
    return new LatchkeyError("broker_unavailable", `The broker went away during ${method}: ${reasonOf(error)}`, {
      ...details,
      hint,
    });
  }
  if (UNKNOWN.has(errorName)) {
    return new LatchkeyError("refused", `The broker does not know ${method}`, {
      ...details,
      hint: OPTIONAL_METHODS.has(method) ? NOT_IMPLEMENTED : "Update the broker",
    });
  }
  const errorDescription = `${errorName}: ${escapeControlCharacters(error.message)}`;
  return new LatchkeyError("unexpected", `The broker failed in ${method}: ${errorDescription}`, {
    ...details,
    errorDescription,
  });
}

/** A peer's text is not for terminals and logs as it came. */
function printableCause(error: unknown): unknown {
  return error instanceof DBusError ? new DBusError(error.errorName, escapeControlCharacters(error.message)) : error;
}
