/** The machines for which executables are built. */
import process from "node:process";

export interface Target {
  /** Name in a release. */
  readonly name: string;
  /** Name for `deno compile --target`. */
  readonly deno: string;
  /** Name for `bun build --compile --target`. */
  readonly bun: Bun.Build.CompileTarget;
  /** End of a program's name. */
  readonly suffix: "" | ".exe";
}

/** All targets of a release. */
export const TARGETS: readonly Target[] = [
  { name: "linux-x64", deno: "x86_64-unknown-linux-gnu", bun: "bun-linux-x64", suffix: "" },
  { name: "linux-arm64", deno: "aarch64-unknown-linux-gnu", bun: "bun-linux-arm64", suffix: "" },
  { name: "macos-x64", deno: "x86_64-apple-darwin", bun: "bun-darwin-x64", suffix: "" },
  { name: "macos-arm64", deno: "aarch64-apple-darwin", bun: "bun-darwin-arm64", suffix: "" },
  { name: "windows-x64", deno: "x86_64-pc-windows-msvc", bun: "bun-windows-x64", suffix: ".exe" },
];

/** Returns the target with one of its three names. @default this machine's */
export function targetNamed(name: string = ownName()): Target {
  const target = TARGETS.find((one) => [one.name, one.deno, one.bun].includes(name));
  if (target) return target;
  throw new RangeError(`There is no target ${name}: ${TARGETS.map((one) => one.name).join(", ")}`);
}

function ownName(): string {
  const system = ({ darwin: "macos", win32: "windows" } as Record<string, string>)[process.platform];
  return `${system ?? process.platform}-${process.arch}`;
}
