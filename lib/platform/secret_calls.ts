/**
 * Calls to freedesktop's Secret Service.
 *
 * @module
 */
import { asKeyringError, KeyringError } from "./keyring_error.ts";
import { BUS_DAEMON, type DBusValue, type MethodCall, type SessionBus } from "./session_bus.ts";

/** Bus name of the Secret Service. */
export const SECRETS_NAME = "org.freedesktop.secrets";

/** The service's own object, to be completed with `member`, `signature` and `body`. */
export const SECRET_SERVICE = {
  destination: SECRETS_NAME,
  path: "/org/freedesktop/secrets",
  interface: "org.freedesktop.Secret.Service",
} as const;

/** How long a call may take, in milliseconds: a keyring that runs, and one that the bus starts first. */
const CALL_MS = 10_000, START_MS = 25_000;

/** How it is called. */
export interface SecretCall {
  /** Ends the call with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Whether the bus starts the service first when it does not run. @default false */
  readonly autoStart?: boolean | undefined;
}

/**
 * Calls a method of the Secret Service.
 *
 * @param bus The session bus.
 * @param method The method.
 * @param call How it is called.
 * @returns The reply's arguments.
 * @throws {KeyringError} for what the bus or the keyring says instead.
 */
export async function callSecrets(
  bus: SessionBus,
  method: MethodCall,
  { signal, autoStart = false }: SecretCall = {},
): Promise<readonly DBusValue[]> {
  try {
    return await bus.call({ ...method, autoStart }, { timeoutMs: autoStart ? START_MS : CALL_MS, signal });
  } catch (error) {
    throw signal?.aborted ? signal.reason : asKeyringError(error);
  }
}

/**
 * Makes the first calls of a conversation: to the service that runs, else to one that is started for them.
 *
 * @param converse Makes them.
 * @returns What they give.
 */
export async function startingSecrets<T>(converse: (autoStart: boolean) => Promise<T>): Promise<T> {
  try {
    return await converse(false);
  } catch (error) {
    if (!(error instanceof KeyringError) || error.problem !== "no_service") throw error;
    return await converse(true);
  }
}

/** Unique bus name of who serves the secrets now. */
export async function secretsOwner(bus: SessionBus, call: SecretCall): Promise<string> {
  const method = { ...BUS_DAEMON, member: "GetNameOwner", signature: "s", body: [SECRETS_NAME] };
  const [owner] = await callSecrets(bus, method, call);
  if (typeof owner !== "string") throw new KeyringError("no_service");
  return owner;
}
