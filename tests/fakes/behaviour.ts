/** What a test tells the fake broker to be, and what the fake tells of the calls that it got. */

/** Broker whose wire is spoken: a folder of `tests/wire`. */
export type Sender =
  | "microsoft-2.0.1"
  | "microsoft-2.0.2"
  | "microsoft-2.5.2"
  | "microsoft-3.0.1"
  | "himmelblau-0.1"
  | "himmelblau-2.0"
  | "himmelblau-4.0";

/** A person who is signed in to the device. What is left out follows from the user name, always the same. */
export interface FakeAccount {
  readonly username: string;
  readonly name?: string;
  /** Object id. */
  readonly oid?: string;
  /** Tenant id. */
  readonly tid?: string;
  /** @default "login.microsoftonline.com" */
  readonly environment?: string;
  /** When the person last typed a password, in seconds since 1970: `auth_time` of id tokens. @default an hour ago */
  readonly signedInAt?: number;
}

/** An answer in place of the normal one. */
export type Reply =
  & (
    /** The text, so many times over. `repeat` is 1 when it is left out. */
    | { readonly kind: "text"; readonly text: string; readonly repeat?: number }
    | ({ readonly kind: "broker_error" } & BrokerError)
    | { readonly kind: "dbus_error"; readonly name: string; readonly message: string }
    | { readonly kind: "body"; readonly signature: string; readonly body: readonly unknown[] }
    /** Never answers; `cancelInteractiveFlow` ends an interactive call nevertheless. */
    | { readonly kind: "hang" }
    /** The process ends in the middle of the call. */
    | { readonly kind: "exit" }
    /** Gives its bus name up and never answers this call. */
    | { readonly kind: "drop_name" }
    /** The normal answer, later. */
    | { readonly kind: "delay"; readonly ms: number }
  )
  /** For so many calls since the behaviour was last set, once `after` others had the normal answer. @default all */
  & { readonly times?: number; readonly after?: number };

/** A refusal, with the wire's numbers. */
export interface BrokerError {
  readonly status: number;
  readonly subStatus?: number;
  readonly tag?: number;
  readonly errorCode?: number;
  readonly context?: string;
  /** OAuth error of the server. @default "invalid_grant" if there is a sub-error */
  readonly error?: string;
  readonly subError?: string;
}

export interface Behaviour {
  readonly sender: Sender;
  /** @default jane@contoso.com alone */
  readonly accounts?: readonly FakeAccount[];
  /** User name of who is meant when a request names no account. @default the first account */
  readonly defaultAccount?: string;
  /** @default 4000 */
  readonly tokenLifetimeSeconds?: number;
  /** How long the process waits before it asks for its bus name. @default 0 */
  readonly startDelayMs?: number;
  /** Ping is never answered. @default false */
  readonly noPing?: boolean;
  /** The process runs and never asks for its bus name. @default false */
  readonly noName?: boolean;
  /** Takes the bus name from the process that has it. @default false */
  readonly takesName?: boolean;
  /** By method, `Ping` included, or by "method scope" for requests of that scope alone. */
  readonly replies?: Readonly<Record<string, Reply>>;
}

/** A call that the fake got. */
export interface Call {
  readonly member: string;
  /** Empty when the caller named none. */
  readonly interface: string;
  readonly signature: string;
  readonly protocolVersion?: string;
  readonly correlationId?: string;
  /** The request's JSON, parsed; absent when it is none. */
  // deno-lint-ignore no-explicit-any -- tests look deep into it
  readonly request?: any;
  /** Unique bus name of the caller. */
  readonly sender: string;
}

/** Name, object and interface of the broker on the session bus. */
export const BROKER_NAME = "com.microsoft.identity.broker1";
export const BROKER_PATH = "/com/microsoft/identity/broker1";
export const BROKER_INTERFACE = "com.microsoft.identity.Broker1";
