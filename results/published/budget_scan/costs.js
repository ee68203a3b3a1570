window.s1Costs = [
 {
  "name": "base_model",
  "stage": "",
  "reused": false,
  "planned_tokens": 0,
  "planned_device_seconds": 0.0,
  "planned_usd": 0.0,
  "spent_tokens": null,
  "spent_device_seconds": 0.0,
  "spent_usd": 0.0,
  "spent_seconds": 23.786,
  "stages": [
   {
    "name": "base_model",
    "stage": "base_model/d3ba84d47c95",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 23.786
   }
  ]
 },
 {
  "name": "checkpoint",
  "stage": "",
  "reused": false,
  "planned_tokens": 1030400,
  "planned_device_seconds": 65.244,
  "planned_usd": 0.001812,
  "spent_tokens": 1058762,
  "spent_device_seconds": 191.757,
  "spent_usd": 0.005327,
  "spent_seconds": 191.757,
  "stages": [
   {
    "name": "checkpoint",
    "stage": "checkpoint/fbd4be6d488f",
    "reused": false,
    "planned_tokens": 1030400,
    "planned_device_seconds": 65.244,
    "planned_usd": 0.001812,
    "spent_tokens": 1058762,
    "spent_device_seconds": 191.757,
    "spent_usd": 0.005327,
    "spent_seconds": 191.757
   }
  ]
 },
 {
  "name": "curated",
  "stage": "",
  "reused": false,
  "planned_tokens": 0,
  "planned_device_seconds": 0.0,
  "planned_usd": 0.0,
  "spent_tokens": null,
  "spent_device_seconds": 0.0,
  "spent_usd": 0.0,
  "spent_seconds": 20.578,
  "stages": [
   {
    "name": "curated",
    "stage": "curated/fdbfbace5e11",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 20.578
   }
  ]
 },
 {
  "name": "curve",
  "stage": "",
  "reused": false,
  "planned_tokens": 0,
  "planned_device_seconds": 0.0,
  "planned_usd": 0.0,
  "spent_tokens": null,
  "spent_device_seconds": 0.0,
  "spent_usd": 0.0,
  "spent_seconds": 3.16,
  "stages": [
   {
    "name": "curve",
    "stage": "curve/693f51703ef9",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 3.16
   }
  ]
 },
 {
  "name": "pool",
  "stage": "",
  "reused": false,
  "planned_tokens": 0,
  "planned_device_seconds": 0.0,
  "planned_usd": 0.0,
  "spent_tokens": null,
  "spent_device_seconds": 0.0,
  "spent_usd": 0.0,
  "spent_seconds": 1.005,
  "stages": [
   {
    "name": "pool",
    "stage": "pool/e33148a33920",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 1.005
   }
  ]
 },
 {
  "name": "problems",
  "stage": "",
  "reused": false,
  "planned_tokens": 0,
  "planned_device_seconds": 0.0,
  "planned_usd": 0.0,
  "spent_tokens": null,
  "spent_device_seconds": 0.0,
  "spent_usd": 0.0,
  "spent_seconds": 0.748,
  "stages": [
   {
    "name": "problems",
    "stage": "problems/3e09b8a35f07",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 0.748
   }
  ]
 },
 {
  "name": "questions",
  "stage": "",
  "reused": false,
  "planned_tokens": 0,
  "planned_device_seconds": 0.0,
  "planned_usd": 0.0,
  "spent_tokens": null,
  "spent_device_seconds": 0.0,
  "spent_usd": 0.0,
  "spent_seconds": 5.481,
  "stages": [
   {
    "name": "questions",
    "stage": "questions/77b241c02f96",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 5.481
   }
  ]
 },
 {
  "name": "rendered",
  "stage": "",
  "reused": false,
  "planned_tokens": 0,
  "planned_device_seconds": 0.0,
  "planned_usd": 0.0,
  "spent_tokens": null,
  "spent_device_seconds": 0.0,
  "spent_usd": 0.0,
  "spent_seconds": 18.343,
  "stages": [
   {
    "name": "rendered",
    "stage": "rendered/e177c99f8de8",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 18.343
   }
  ]
 },
 {
  "name": "report",
  "stage": "",
  "reused": false,
  "planned_tokens": 0,
  "planned_device_seconds": 0.0,
  "planned_usd": 0.0,
  "spent_tokens": null,
  "spent_device_seconds": 0.0,
  "spent_usd": 0.0,
  "spent_seconds": 5.549,
  "stages": [
   {
    "name": "report",
    "stage": "report/392c0d8ea491",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 5.549
   }
  ]
 },
 {
  "name": "scores",
  "stage": "",
  "reused": false,
  "planned_tokens": 0,
  "planned_device_seconds": 0.0,
  "planned_usd": 0.0,
  "spent_tokens": null,
  "spent_device_seconds": 0.0,
  "spent_usd": 0.0,
  "spent_seconds": 7.871,
  "stages": [
   {
    "name": "scores",
    "stage": "scores/10bb644f4086",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 0.403
   },
   {
    "name": "scores",
    "stage": "scores/13e9786665e1",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 0.153
   },
   {
    "name": "scores",
    "stage": "scores/209d4346a35b",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 0.284
   },
   {
    "name": "scores",
    "stage": "scores/69a90bfed09a",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 0.161
   },
   {
    "name": "scores",
    "stage": "scores/6b0653003a6f",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 0.168
   },
   {
    "name": "scores",
    "stage": "scores/86c92b26c652",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 0.483
   },
   {
    "name": "scores",
    "stage": "scores/8ec28faa9c1d",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 5.517
   },
   {
    "name": "scores",
    "stage": "scores/a8449ee431e1",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 0.377
   },
   {
    "name": "scores",
    "stage": "scores/af4391828b3a",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 0.162
   },
   {
    "name": "scores",
    "stage": "scores/f6cda9184513",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 0.163
   }
  ]
 },
 {
  "name": "trace_archive",
  "stage": "",
  "reused": false,
  "planned_tokens": 0,
  "planned_device_seconds": 0.0,
  "planned_usd": 0.0,
  "spent_tokens": null,
  "spent_device_seconds": 0.0,
  "spent_usd": 0.0,
  "spent_seconds": 2.459,
  "stages": [
   {
    "name": "trace_archive",
    "stage": "trace_archive/42178e7355c5",
    "reused": false,
    "planned_tokens": 0,
    "planned_device_seconds": 0.0,
    "planned_usd": 0.0,
    "spent_tokens": null,
    "spent_device_seconds": 0.0,
    "spent_usd": 0.0,
    "spent_seconds": 2.459
   }
  ]
 },
 {
  "name": "traces",
  "stage": "",
  "reused": false,
  "planned_tokens": 54000,
  "planned_device_seconds": 93.5,
  "planned_usd": 0.002596,
  "spent_tokens": 66664,
  "spent_device_seconds": 45.9,
  "spent_usd": 0.001274,
  "spent_seconds": 45.9,
  "stages": [
   {
    "name": "traces",
    "stage": "traces/444a520eea3f",
    "reused": false,
    "planned_tokens": 900,
    "planned_device_seconds": 8.225,
    "planned_usd": 0.000228,
    "spent_tokens": 508,
    "spent_device_seconds": 0.76,
    "spent_usd": 2.1e-05,
    "spent_seconds": 0.76
   },
   {
    "name": "traces",
    "stage": "traces/701a686d4277",
    "reused": false,
    "planned_tokens": 2700,
    "planned_device_seconds": 8.675,
    "planned_usd": 0.000241,
    "spent_tokens": 726,
    "spent_device_seconds": 2.066,
    "spent_usd": 5.7e-05,
    "spent_seconds": 2.066
   },
   {
    "name": "traces",
    "stage": "traces/81850bcb0001",
    "reused": false,
    "planned_tokens": 18900,
    "planned_device_seconds": 12.725,
    "planned_usd": 0.000353,
    "spent_tokens": 27185,
    "spent_device_seconds": 5.059,
    "spent_usd": 0.000141,
    "spent_seconds": 5.059
   },
   {
    "name": "traces",
    "stage": "traces/90dd24af7df1",
    "reused": false,
    "planned_tokens": 2100,
    "planned_device_seconds": 8.525,
    "planned_usd": 0.000237,
    "spent_tokens": 490,
    "spent_device_seconds": 0.58,
    "spent_usd": 1.6e-05,
    "spent_seconds": 0.58
   },
   {
    "name": "traces",
    "stage": "traces/971a4e5a8135",
    "reused": false,
    "planned_tokens": 2100,
    "planned_device_seconds": 8.525,
    "planned_usd": 0.000237,
    "spent_tokens": 710,
    "spent_device_seconds": 1.163,
    "spent_usd": 3.2e-05,
    "spent_seconds": 1.163
   },
   {
    "name": "traces",
    "stage": "traces/a647fd5e2f8d",
    "reused": false,
    "planned_tokens": 3300,
    "planned_device_seconds": 8.825,
    "planned_usd": 0.000245,
    "spent_tokens": 600,
    "spent_device_seconds": 1.375,
    "spent_usd": 3.8e-05,
    "spent_seconds": 1.375
   },
   {
    "name": "traces",
    "stage": "traces/c6b841b5b6c0",
    "reused": false,
    "planned_tokens": 3300,
    "planned_device_seconds": 8.825,
    "planned_usd": 0.000245,
    "spent_tokens": 600,
    "spent_device_seconds": 23.88,
    "spent_usd": 0.000663,
    "spent_seconds": 23.88
   },
   {
    "name": "traces",
    "stage": "traces/c78dcd0bf117",
    "reused": false,
    "planned_tokens": 900,
    "planned_device_seconds": 8.225,
    "planned_usd": 0.000228,
    "spent_tokens": 9115,
    "spent_device_seconds": 0.226,
    "spent_usd": 6e-06,
    "spent_seconds": 0.226
   },
   {
    "name": "traces",
    "stage": "traces/dfaf4bebf799",
    "reused": false,
    "planned_tokens": 9900,
    "planned_device_seconds": 10.475,
    "planned_usd": 0.000291,
    "spent_tokens": 12870,
    "spent_device_seconds": 4.418,
    "spent_usd": 0.000123,
    "spent_seconds": 4.418
   },
   {
    "name": "traces",
    "stage": "traces/e0576a276288",
    "reused": false,
    "planned_tokens": 9900,
    "planned_device_seconds": 10.475,
    "planned_usd": 0.000291,
    "spent_tokens": 13860,
    "spent_device_seconds": 6.373,
    "spent_usd": 0.000177,
    "spent_seconds": 6.373
   }
  ]
 }
];
