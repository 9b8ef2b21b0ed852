// A program that is done while it watches the broker.
import { PublicClientApplication } from "../../mod.ts";

const app = new PublicClientApplication({
  clientId: "11111111-2222-4333-8444-555555555555",
  enableBrokerOnLinux: true,
});
app.onBrokerChange(() => {});
await app.brokerStatus();
process.stdout.write("watching\n");
