/** Listens twice to a broker that comes and goes; the first listener throws. It ends when the second one is told. */
import process from "node:process";
import { PublicClientApplication } from "../../mod.ts";

const app = new PublicClientApplication({
  clientId: "11111111-2222-4333-8444-555555555555",
  enableBrokerOnLinux: true,
});
// What a listener throws is the program's to see.
process.on("uncaughtException", ({ message }) => process.stdout.write(`${message}\n`));
app.onBrokerChange(() => {
  throw new Error("thrown");
});
const told = Promise.withResolvers<void>();
app.onBrokerChange(() => told.resolve());
await app.brokerStatus();
process.stdout.write("watching\n");
const working = setInterval(() => {}, 1000); // listeners keep no program alive
await told.promise;
clearInterval(working);
process.stdout.write("told\n");
