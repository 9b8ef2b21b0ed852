/**
 * Where the person sits: which browser can be opened for them, and whether its loopback is ours.
 *
 * Deno tells more with `--allow-sys=osRelease`, `--allow-read=/.dockerenv,/run/.containerenv` and
 * `--allow-env`; what it does not permit counts as not there.
 *
 * @module
 */
import { denoNamespace, readEnvironment } from "./host.ts";
import { readMachine } from "./machine.ts";
import { isPermitted } from "./permission.ts";

/** What is around the program. */
export interface Surroundings {
  /** Operating system, in Node's words. */
  readonly system: string;
  /** Whether it is Linux on Windows. */
  readonly isWsl: boolean;
  /** Whether the program runs in a container. */
  readonly isContainer: boolean;
  /** An environment variable; `undefined` when it is not set or empty. */
  readonly variable: (name: string) => string | undefined;
}

/** Looks around. */
export async function readSurroundings(): Promise<Surroundings> {
  const { system, isWsl = false } = await readMachine(), variable = readEnvironment;
  const marks = await Promise.all(CONTAINER_FILES.map(exists));
  return {
    system,
    isWsl,
    isContainer: marks.includes(true) || CONTAINER_VARIABLES.some((name) => variable(name) !== undefined),
    variable,
  };
}

/** Docker's and Podman's marks. */
const CONTAINER_FILES = ["/.dockerenv", "/run/.containerenv"];
/** Set by Podman and systemd-nspawn, by dev containers, by GitHub, and by Kubernetes. */
const CONTAINER_VARIABLES = [
  "container",
  "REMOTE_CONTAINERS",
  "DEVCONTAINER",
  "CODESPACES",
  "KUBERNETES_SERVICE_HOST",
];

/** Whether the person's browser is likely on another machine, where our loopback cannot be reached: over SSH, in a container. */
export function isRemoteSession({ isContainer, variable }: Surroundings): boolean {
  return isContainer || isSsh(variable);
}

/** Whether the session came over SSH. */
export function isSsh(variable: Surroundings["variable"]): boolean {
  return ["SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"].some((name) => variable(name) !== undefined);
}

async function exists(path: string): Promise<boolean> {
  if (!isPermitted({ name: "read", path })) return false;
  try {
    await (denoNamespace() ?? await import("node:fs/promises")).lstat(path);
    return true;
  } catch {
    return false;
  }
}
