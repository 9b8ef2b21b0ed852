/** The machines that executables are made for. */
import process from "node:process";

/** A kind of machine. */
export interface Target {
  /** What a release calls it. */
  readonly name: string;
  /** What `deno compile --target` calls it. */
  readonly deno: string;
  /** What `bun build --compile --target` calls it. */
  readonly bun: Bun.Build.CompileTarget;
  /** What a program's name ends with there. */
  readonly suffix: "" | ".exe";
}

/** All that a release has. */
export const TARGETS: readonly Target[] = [
  { name: "linux-x64", deno: "x86_64-unknown-linux-gnu", bun: "bun-linux-x64", suffix: "" },
  { name: "linux-arm64", deno: "aarch64-unknown-linux-gnu", bun: "bun-linux-arm64", suffix: "" },
  { name: "macos-x64", deno: "x86_64-apple-darwin", bun: "bun-darwin-x64", suffix: "" },
  { name: "macos-arm64", deno: "aarch64-apple-darwin", bun: "bun-darwin-arm64", suffix: "" },
  { name: "windows-x64", deno: "x86_64-pc-windows-msvc", bun: "bun-windows-x64", suffix: ".exe" },
];

/** The target of this name, in anybody's words. Without one, this machine's. */
export function targetNamed(name: string = ownName()): Target {
  const target = TARGETS.find((one) => [one.name, one.deno, one.bun].includes(name));
  if (target) return target;
  throw new RangeError(`There is no target ${name}: ${TARGETS.map((one) => one.name).join(", ")}`);
}

function ownName(): string {
  const system = ({ darwin: "macos", win32: "windows" } as Record<string, string>)[process.platform];
  return `${system ?? process.platform}-${process.arch}`;
}
