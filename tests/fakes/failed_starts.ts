/** Ways in which a broker cannot be started, and what a person is told to do. */
import { BROKER_NAME } from "./behaviour.ts";
import { HOSTILE_DBUS_TEXT } from "./hostile_texts.ts";
import type { PrivateBus } from "./private_bus.ts";
import { activatableFakeBroker, type FakeBroker } from "./start_fake_broker.ts";

export interface FailedStart {
  readonly name: string;
  /** Installs such a broker. */
  readonly install: (bus: PrivateBus) => Promise<FakeBroker | void>;
  /** Whether the bus itself never says so, and only the time limit ends it. */
  readonly isSilent: boolean;
  /** Whether there is a broker to start. @default true */
  readonly isInstalled?: boolean;
  /** Where the hint points. */
  readonly hint: RegExp;
}

const INSTALL = /^Install microsoft-identity-broker/, AGAIN = /^Install the broker again/;
const DISPLAY = /dbus-update-activation-environment/, RESTART = /^Restart it/;

const command = (...words: string[]) => (bus: PrivateBus) => bus.addService(BROKER_NAME, words);

/** No broker comes of these. */
export const FAILED_STARTS: readonly FailedStart[] = [
  { name: "is not installed", install: () => Promise.resolve(), isSilent: false, isInstalled: false, hint: INSTALL },
  { name: "has a service file that names no program", install: command("/nobody"), isSilent: false, hint: AGAIN },
  { name: "fails when it is started", install: command("/bin/false"), isSilent: false, hint: DISPLAY },
  {
    name: "is killed when it is started",
    install: command("/bin/sh", "-c", "kill -9 $$"),
    isSilent: false,
    hint: DISPLAY,
  },
  { name: "ends before it takes its name", install: command("/bin/true"), isSilent: true, hint: RESTART },
  {
    name: "never takes its name",
    install: (bus) => activatableFakeBroker(bus, { noName: true }),
    isSilent: true,
    hint: RESTART,
  },
  {
    name: "dies before it answers",
    install: (bus) => activatableFakeBroker(bus, { replies: { Ping: { kind: "exit" } } }),
    isSilent: false,
    hint: DISPLAY,
  },
  {
    name: "drops its name before it answers",
    install: (bus) => activatableFakeBroker(bus, { replies: { Ping: { kind: "drop_name" } } }),
    isSilent: true,
    hint: RESTART,
  },
  {
    name: "never answers",
    install: (bus) => activatableFakeBroker(bus, { noPing: true }),
    isSilent: true,
    hint: RESTART,
  },
  {
    name: "answers its first call with an error",
    install: (bus) =>
      activatableFakeBroker(bus, {
        replies: { Ping: { kind: "dbus_error", name: "com.contoso.Error.Own", message: HOSTILE_DBUS_TEXT } },
      }),
    isSilent: false,
    hint: RESTART,
  },
];
